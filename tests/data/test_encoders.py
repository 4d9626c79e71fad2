"""Encoders: fitted in chunks, on what they are given; their fields and JSON."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from fitted import fit

from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation import numbers
from dtn_jax.datasets.preparation.encoders import (
    Identity,
    QuantileBuckets,
    Standardise,
    Vocabulary,
)
from dtn_jax.errors import UserError

ENCODERS = {
    "text": Vocabulary(min_count=3, unknown=("?",)),
    "code": Vocabulary(),
    "amount": QuantileBuckets(buckets=8),
    "price": Standardise(),
    "id": Identity(9),
}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    texts = np.array(["?", "a", "b", "c", "d"])[np.minimum(rng.geometric(0.4, 3_000) - 1, 4)]
    amount = np.where(rng.random(3_000) < 0.5, 0, rng.integers(1, 400, 3_000)).astype(float)
    amount[rng.random(3_000) < 0.1] = np.nan
    return pl.DataFrame(
        {
            "text": pl.Series(texts).set(pl.Series(rng.random(3_000) < 0.1), None),
            "code": rng.integers(0, 40, 3_000),
            "amount": amount,
            "price": pl.Series(rng.normal(3, 2, 3_000)).set(pl.Series(amount == 0), None),
            "id": rng.integers(0, 12, 3_000),
        }
    )


@pytest.mark.parametrize("size", [1, 7, 1_000, 2_999])
def test_fitting_does_not_depend_on_the_chunks(frame, size):
    if size == 1:
        frame = frame[:60]
    whole = enc.fit(ENCODERS, [frame])
    parts = enc.fit(ENCODERS, frame.iter_slices(size))
    price, cut = whole.pop("price"), parts.pop("price")
    assert parts == whole
    # Sums of floats, the values sorted, so the same to the bit too.
    assert cut == price


def test_chunks_of_one_column_may_differ_in_type():
    chunks = [
        pl.DataFrame({"n": [None, None], "t": [None, None]}),
        pl.DataFrame({"n": [1, 2], "t": ["a", "b"]}),
        pl.DataFrame({"n": [1.0, None], "t": pl.Series(["b", "c"], dtype=pl.Categorical)}),
    ]
    fitted = enc.fit({"n": QuantileBuckets(), "t": Vocabulary()}, chunks)
    assert fitted["n"].dominating == (1.0, 2.0)
    assert fitted["t"].values == ("b", "a", "c")


def test_fitting_reads_nothing_but_what_it_is_given(frame):
    fitted = enc.fit(ENCODERS, [frame[:1_000]])
    before = enc.to_json(fitted)
    for name, encoder in fitted.items():
        encoder.encode(frame[name])
    assert enc.to_json(fitted) == before
    assert enc.fit(ENCODERS, [frame]) != fitted


def test_no_train_rows_at_all():
    with pytest.raises(UserError, match="the train split is empty"):
        enc.fit({"x": Vocabulary()}, [])


def test_thinning_stays_close(monkeypatch):
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(size=36_000), np.zeros(4_000)])
    rng.shuffle(values)
    column = pl.Series(values).set(pl.Series(rng.random(40_000) < 0.1), None)
    chunks = [column[i : i + 2_500] for i in range(0, 40_000, 2_500)]
    exact = fit(QuantileBuckets(buckets=10), *chunks)
    monkeypatch.setattr(numbers, "MAX_DISTINCT", 3_000)
    sizes = []
    thin = numbers._thin

    def spy(counts):
        after = thin(counts)
        sizes.append((len(counts), len(after)))
        assert after["count"].sum() == counts["count"].sum()
        return after

    monkeypatch.setattr(numbers, "_thin", spy)
    thinned = fit(QuantileBuckets(buckets=10), *chunks)
    assert len(sizes) > 3
    assert max(before for before, _ in sizes) <= 3_000 + 2_500
    assert all(after == -(-before // 10) for before, after in sizes)
    # The dominating value is still itself, and no quantile moved by more than 1 %.
    assert thinned.dominating == exact.dominating == (0.0,)
    rank = np.searchsorted(np.sort(values), [exact.edges, thinned.edges]) / len(values)
    assert len(thinned.edges) == len(exact.edges) == 9
    np.testing.assert_allclose(rank[0], rank[1], atol=0.01)
    monkeypatch.setattr(numbers, "MAX_DISTINCT", 1_000_000)
    moments = fit(Standardise(), *chunks)
    monkeypatch.setattr(numbers, "MAX_DISTINCT", 3_000)
    near = fit(Standardise(), *chunks)
    assert near.mean == pytest.approx(moments.mean, abs=0.02)
    assert near.deviation == pytest.approx(moments.deviation, rel=0.02)


def test_texts_are_never_thinned(monkeypatch):
    monkeypatch.setattr(numbers, "MAX_DISTINCT", 10)
    assert fit(Vocabulary(), [str(i) for i in range(100)]).rows == 101


def test_fields_of_the_schema(frame):
    fields = {n: enc.field(n, e) for n, e in enc.fit(ENCODERS, [frame]).items()}
    assert {n: f.kind for n, f in fields.items()} == {
        "text": "categorical",
        "code": "categorical",
        "amount": "numeric",
        "price": "numeric",
        "id": "categorical",
    }
    assert [n for n, f in fields.items() if f.standardised] == ["price"]
    assert fields["code"].rows == 41
    assert fields["amount"].rows == 1 + 1 + 8
    assert (fields["price"].rows, fields["id"].rows) == (2, 10)


def test_json_round_trip_is_exact(frame):
    fitted = enc.fit(ENCODERS, [frame])
    text = enc.to_json(fitted)
    again = enc.from_json(text)
    assert again == fitted
    assert list(again) == list(fitted)
    assert enc.to_json(again) == text
    assert isinstance(again["text"].values, tuple)
    for name, encoder in again.items():
        np.testing.assert_array_equal(encoder.encode(frame[name]), fitted[name].encode(frame[name]))
    thirds = fit(QuantileBuckets(buckets=3), np.arange(100) / 3)
    assert enc.from_json(enc.to_json({"x": thirds}))["x"] == thirds


def test_unfitted_encoders_go_through_json_too():
    assert enc.from_json(enc.to_json(ENCODERS)) == ENCODERS


@pytest.mark.parametrize("kind", ["vocabularies", "hashing"])  # one that is no longer there
def test_json_of_an_unknown_encoder(kind):
    text = json.dumps({"x": {"kind": kind}})
    with pytest.raises(UserError, match=f"encoder of field 'x' '{kind}'"):
        enc.from_json(text)


def test_encoders_need_neither_pickle_nor_the_training_code():
    source = pathlib.Path(enc.__file__).read_text()
    assert "pickle" not in source
    # As a file of its own: its package's __init__ imports the builders, and so TFDS.
    program = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("encoders", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["encoders"] = module
spec.loader.exec_module(module)
print(*{"grain", "tensorflow_datasets", "orbax", "jax", "flax"} & set(sys.modules))
"""
    command = [sys.executable, "-c", program, enc.__file__]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_schema_and_encoders_are_light():
    """Scoring reuses them: they must not bring the training code, or what reads and saves it."""
    code = (
        "import sys, dtn_jax.schema, dtn_jax.datasets.preparation.encoders; "
        "print({'tensorflow_datasets', 'grain', 'orbax', 'jax', 'flax'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
