"""What stands beside a history's items, in an exported model."""

import numpy as np
import polars as pl
import pytest
from companion_batches import SCHEMA, SLOTS, batch
from drawn_models import drawn, exported
from history_logs import LISTS, TEST, log, made

from dtn_jax.export import load
from dtn_jax.export.encoded import Bad
from dtn_jax.input.reader import SplitReader


@pytest.mark.parametrize("way", ["", "din"])
def test_a_program_gives_the_scores_of_the_scoring_step(tmp_path, quick_to_compile, way):
    experts = "mlp+hcnet"
    model = drawn("dtn", experts, schema=SCHEMA, model__histories=way, model__embedding_dim=4)
    logits, _ = exported(model.forward(), [model], tmp_path / "weights.safetensors")
    given = batch(50, dtype=np.float32).replace(row_mask=np.ones(50, bool))
    found, expected = logits(given), model.expected(given)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    turned = given.ids.copy()
    turned[:, SLOTS["gap"]] = np.where(turned[:, SLOTS["gap"]] < 0, -1, 0)
    assert np.abs(logits(given.replace(ids=turned)) - found).max() > 1e-3


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """(the prepared set, a model of it)."""
    data, folder = made(tmp_path_factory.mktemp("companions"))
    return data, load(folder)


def test_rows_are_encoded_as_they_were_prepared(model):
    data, loaded = model
    rows = log()[TEST]
    stored = np.asarray(SplitReader(data, "test").everything().ids)
    for given in (rows, rows.to_dicts()):
        encoded = loaded.encode(given)
        assert encoded.good.all()
        assert sorted(map(tuple, encoded.ids.tolist())) == sorted(map(tuple, stored.tolist()))


@pytest.mark.parametrize(
    "shared", [LISTS, ("viewed",), ("viewed_action",), ("viewed_gap", "item"), LISTS[1:]]
)
def test_what_rows_have_in_common_is_encoded_once(model, shared):
    """The same arrays, whether a user has the history and each candidate what stands beside."""
    _, loaded = model
    frame = log()[TEST].select(loaded.columns)
    counts = frame["viewed"].list.len()
    frame = frame.filter(counts == 6)
    once, rest = frame[:1].select(shared), frame.drop(shared)
    whole = rest.with_columns(once[n].new_from_index(0, len(frame)) for n in shared)
    numbers = np.arange(1, len(frame) + 1)
    wanted = loaded.encoding.encode_frame(whole.select(loaded.columns), Bad(numbers))
    found = loaded.encoding.encode_shared(once, rest, len(frame))
    np.testing.assert_array_equal(found.ids, wanted.ids)
    assert wanted.good.all()
    assert len(frame) > 3
    short = once.with_columns(pl.col(n).list.head(2) for n in set(shared) & set(LISTS))
    if set(shared) != set(LISTS):  # beside lists of 6
        assert loaded.encoding.encode_shared(short, rest, len(frame)) is None
