"""What fields hold and how they drift, the sample that it is told from, groups, repeated rows."""

import dataclasses
import pathlib

import numpy as np
import polars as pl
import pytest
from own_log import one_field, shop
from world.log import prepared, split_frames

from dtn_jax.cli import description
from dtn_jax.data import equal_rows
from dtn_jax.data.describe import describe, fields


@pytest.fixture(scope="module")
def told(prepared_dir):
    frame, data = shop(pathlib.Path(prepared_dir) / "own")
    return frame, data, describe.describe(data)


def test_unknown_values_are_what_train_lacks(told):
    frame, data, _ = told
    frames = split_frames(frame)
    counts = frames["train"]["user"].value_counts()
    kept = counts.filter(pl.col("count") >= 2)["user"].to_list()
    by_name = {field.name: field for field in data.schema.fields}
    for split, rows in frames.items():
        unknown = {n: description.unknown_share(data, split, by_name[n]) for n in ("user", "price")}
        assert unknown["user"] == pytest.approx(1 - rows["user"].is_in(kept).mean())
        assert unknown["price"] == pytest.approx(rows["price"].is_null().mean())


def test_a_large_split_is_read_in_part(told):
    _, data, whole = told
    found = describe.describe(data, most_rows=4000)
    assert whole.looked_at == data.rows
    assert 1500 < found.looked_at["train"] <= 4000
    assert found.looked_at["test"] == 1200
    records = describe.records_of(data, "train", 4000)
    assert records[0] == 0
    assert records[-1] == len(data.layout.blocks(data.rows["train"])) - 1
    assert found.rates["rate"].to_list() == pytest.approx(whole.rates["rate"].to_list(), abs=0.06)


def test_repeated_rows():
    train, _ = one_field([[1, 2], [1, 2], [2, 1], [1, 2]], [0, 0, 0, 1])
    test, _ = one_field([[1, 2], [2, 1], [3, -1], [3, -1]], [1, 1, 0, 0])
    found = describe.repeats({"train": train, "test": test})
    assert found.rows() == [("train", 0.25, None, None), ("test", None, 0.5, 0.25)]
    other = dataclasses.replace(train, label_mask=np.array([[True], [False], [True], [True]]))
    assert describe.repeats({"train": other})["repeated"].item() == 0.0


def test_rows_that_train_has_too_are_told(tmp_path, monkeypatch):
    """Every row stands twice, and is drawn into its split by itself; of a large set some count."""
    draw = np.random.default_rng(0)
    frame = pl.DataFrame({"a": draw.random(2000), "b": draw.integers(0, 2, 2000)})
    schema = "name: twice\nfields: {a: {kind: numeric, encoder: standardise}}\ntasks: {b:}\n"
    split = "split: {by: random, validation: 0.1, test: 0.1}\n"
    data = prepared(tmp_path / "twice", pl.concat([frame, frame]), schema + split)
    found = describe.describe(data)
    equal = dict(found.repeats[1:]["split", "equal"].rows())
    assert equal == {s: pytest.approx(0.8, abs=0.06) for s in ("validation", "test")}
    counts = {s: round(share * data.rows[s]) for s, share in equal.items()}
    (line,) = (line for line in data.notes["account"] if "train has too" in line)
    assert f"{counts['validation']} of validation" in line
    assert f"{counts['test']} of test" in line
    assert any("copies in the log" in text for text in description.texts(found)[description.FIRST])
    monkeypatch.setattr(equal_rows, "MOST", 1000)
    some = prepared(tmp_path / "some", pl.concat([frame, frame]), schema + split)
    (line,) = (line for line in some.notes["account"] if "train has too" in line)
    about = int(line.split("about ")[1].split()[0])
    assert about == pytest.approx(counts["validation"], rel=0.15)
    once = prepared(tmp_path / "once", frame, schema + split)
    assert "account" not in once.notes


def numpy_psi(a, b):
    p, q = (a + 0.5) / (a + 0.5).sum(), (b + 0.5) / (b + 0.5).sum()
    return sum((q[i] - p[i]) * np.log(q[i] / p[i]) for i in range(len(a)))


def test_each_field_and_label_has_a_drift_to_each_split(told):
    keys = [*told[1].schema.field_names, "click@all", "order@all", "order@click", "watch@all"]
    pairs = [(name, split) for name in keys for split in ("validation", "test")]
    assert told[2].drift["name", "split"].rows() == pairs


def between(train, other, weights=(None, None), **changes):
    """How far a field moved."""
    a, schema = one_field(train, np.zeros(len(train)), weights[0], **changes)
    b, _ = one_field(other, np.zeros(len(other)), weights[1], **changes)
    return next(value for name, _, value in fields.drifts(schema, [a, b]) if name == "f")


def test_few_ids_have_a_bin_each():
    draw = np.random.default_rng(1)
    train, other = draw.integers(0, 6, 900), draw.integers(2, 9, 300)
    counts = [np.bincount(v, minlength=9).astype(float) for v in (train, other)]
    found = between(train, other)
    assert found == pytest.approx(numpy_psi(*counts), rel=1e-12)
    assert fields.reading(found) == "strong"


def test_rare_ids_that_did_not_move_are_stable():
    """Two rows a user, and those that train lacks are unknown in test: no drift."""
    draw = np.random.default_rng(0)
    users = draw.integers(0, 20_000, 50_000)
    train, other = users[:40_000], users[40_000:]
    encoded = [1 + train, np.where(np.isin(other, train), 1 + other, 0)]
    assert between(*encoded, rows=20_001) < 0.1


def test_ids_that_moved_have_drift():
    draw = np.random.default_rng(0)
    train, other = np.minimum(draw.zipf(1.5, (2, 20_000)), 900)
    assert between(train, other) < 0.05
    half = draw.random(20_000) < 0.5
    for moved in (np.where(half, 0, other), np.where(half, 900 - other, other)):
        assert fields.reading(between(train, moved)) == "strong"


def test_rows_count_by_their_weights():
    """Train's negatives were sampled at 0.1 and weigh 10: then nothing moved."""
    draw = np.random.default_rng(0)
    ids = draw.integers(1, 3, 40_000)
    label = draw.random(40_000) < np.where(ids == 1, 0.02, 0.3)
    kept = label | (draw.random(40_000) < 0.1)
    weights = np.where(label, 1.0, 10.0).astype(np.float32)
    given = weights[kept], np.ones(40_000, np.float32)
    assert between(ids[kept], ids, given) < 0.01 < between(ids[kept], ids)
