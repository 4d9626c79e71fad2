"""What fields hold and how they drift, the sample that it is told from, groups, repeated rows."""

import dataclasses
import pathlib

import numpy as np
import polars as pl
import pytest
from own_log import one_field, prepared, shop, split_frames
from scipy.stats import chi2

from dtn_jax.data import equal_rows
from dtn_jax.data.describe import describe, fields, labels, leaks
from dtn_jax.report.description import overview, sections


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
        unknown = {n: overview.unknown_share(data, split, by_name[n]) for n in ("user", "price")}
        assert unknown["user"] == pytest.approx(1 - rows["user"].is_in(kept).mean())
        assert unknown["price"] == pytest.approx(rows["price"].is_null().mean())


def test_counts_of_a_huge_table_are_those_of_a_small_one():
    draw = np.random.default_rng(0)
    ids = draw.integers(-1, 40, (500, 3)).astype(np.int32)
    new = draw.integers(-1, 60, (500, 3)).astype(np.int32)  # some train lacks
    moved = [np.where(own < 0, -1, own + 2**30) for own in (ids, new)]
    ones = np.tile(draw.random(500) < 0.4, 2)
    label = leaks.Label("click", (np.arange(500), np.arange(500, 1000)), ones)
    small, huge = (
        leaks.alone("f", [leaks.Values(leaks.VALUE, size, np.concatenate(both))], [label])
        for size, both in ((60, (ids, new)), (2**31 - 1, moved))
    )
    assert small == huge


def test_a_large_split_is_read_in_part(told):
    _, data, whole = told
    found = describe.describe(data, most_rows=4000)
    assert whole.whole
    assert not found.whole
    assert 1500 < found.looked_at["train"] <= 4000
    assert found.looked_at["test"] == 1200
    assert found.groups.is_empty()
    assert not whole.groups.is_empty()
    records = describe.records_of(data, "train", 4000)
    assert records[0] == 0
    assert records[-1] == len(data.layout.blocks(data.rows["train"])) - 1
    assert found.rates["rate"].to_list() == pytest.approx(whole.rates["rate"].to_list(), abs=0.06)


def test_groups(told):
    frame, _, found = told
    frames = split_frames(frame)
    train, _, test = found.groups.to_dicts()
    users = frames["test"].group_by("user").agg(pl.len(), pl.col("click").mean())
    in_train = users["user"].is_in(frames["train"]["user"].unique().implode())
    assert (train["of train"], test["groups"]) == (None, len(users))
    assert test["of train"] == pytest.approx(in_train.mean())
    assert test["rows of those"] == pytest.approx(users["len"].filter(in_train).sum() / 1200)
    quantiles = [np.quantile(users["len"], share) for share in labels.QUANTILES.values()]
    assert [test[name] for name in labels.QUANTILES] == pytest.approx(quantiles)
    both = dict(found.mixed.filter(split="test")["task@space", "share"].rows())
    assert both["click@all"] == users["click"].is_between(0, 1, closed="none").mean()
    clicked = frames["test"].filter(pl.col("click") == 1).group_by("user").agg(pl.mean("order"))
    mixed = clicked["order"].is_between(0, 1, closed="none").mean()
    assert both["order@click"] == pytest.approx(mixed)


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
    assert "equal rows" in dict(sections.remarks(found))
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


def test_each_field_has_a_drift_to_each_split(told):
    found = told[2].field_drift
    names = told[1].schema.field_names
    pairs = [(name, split) for name in names for split in ("validation", "test")]
    assert found["name", "split"].rows() == pairs
    assert set(found.drop_nulls("entry")["name"]) == {"embedding"}


def between(train, other, **changes):
    a, schema = one_field(train, np.zeros(len(train)), **changes)
    b, _ = one_field(other, np.zeros(len(other)), **changes)
    (found,) = fields.drift(schema.fields[0], schema, {"train": a, "test": b})
    return found


def test_few_ids_have_a_bin_each():
    draw = np.random.default_rng(1)
    train, other = draw.integers(0, 6, 900), draw.integers(2, 9, 300)
    counts = [np.bincount(v, minlength=9).astype(float) for v in (train, other)]
    found = between(train, other)
    assert found["psi"] == pytest.approx(numpy_psi(*counts), rel=1e-12)
    assert found["chance"] == pytest.approx(chi2.ppf(0.95, 8) * (1 / 900 + 1 / 300))
    assert found["reading"] == "strong"
    assert found["split"] == "test"


def test_rare_ids_that_did_not_move_are_stable():
    """Two rows a user, and those that train lacks are unknown in test: no drift."""
    draw = np.random.default_rng(0)
    users = draw.integers(0, 20_000, 50_000)
    train, other = users[:40_000], users[40_000:]
    known = np.isin(other, train)
    encoded = [1 + train, np.where(known, 1 + other, 0)]
    found = between(*encoded, rows=20_001)
    assert found["psi"] < 0.1, found


def test_what_test_alone_has_is_no_chance():
    """A row a user in train, and none of test's is among them."""
    train = 1 + np.arange(2000)
    assert between(train, np.zeros(500, np.int64), rows=2001)["reading"] == "strong"
    draw = np.random.default_rng(0)
    some = np.where(draw.random(500) < 0.9, 0, draw.integers(1, 2001, 500))
    assert between(train, some, rows=2001)["reading"] == "strong"
    nothing = np.where(draw.random(4000) < 0.7, 0, draw.integers(1, 2001, 4000))
    found = between(nothing[:3000], nothing[3000:], rows=2001)  # as unknown in both: it stayed
    assert found["reading"] in ("chance", "stable")


def test_ids_that_moved_have_drift():
    draw = np.random.default_rng(0)
    train, other = np.minimum(draw.zipf(1.5, (2, 20_000)), 900)
    assert between(train, other)["psi"] < 0.05
    half = draw.random(20_000) < 0.5
    assert between(train, np.where(half, 0, other))["reading"] == "strong"  # half became unknown
    assert between(train, np.where(half, 900 - other, other))["reading"] == "strong"


def test_rows_count_by_their_weights():
    """Train's negatives were sampled at 0.1 and weigh 10: then nothing moved."""
    draw = np.random.default_rng(0)
    ids = draw.integers(1, 3, 40_000)
    label = draw.random(40_000) < np.where(ids == 1, 0.02, 0.3)
    kept = label | (draw.random(40_000) < 0.1)
    weights = np.where(label, 1.0, 10.0).astype(np.float32)
    a, schema = one_field(ids[kept], label[kept], weights=weights[kept])
    b, _ = one_field(ids, label, weights=np.ones(40_000, np.float32))
    samples = {"train": a, "test": b}
    ((by_weight,), (by_row,)) = (
        fields.drift(schema.fields[0], schema, samples, by_weight=way) for way in (True, False)
    )
    assert by_weight["reading"] in ("chance", "stable")
    assert by_weight["psi"] < 0.01 < by_row["psi"]
