"""What fields hold, the sample that it is told from, groups and repeated rows."""

import dataclasses

import numpy as np
import polars as pl
import pytest
from own_log import one_field, shop, split_frames

from dtn_jax.datasets.description import describe, fields, groups, sample


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    frame, data = shop(tmp_path_factory.mktemp("shop"))
    return frame, data, describe.describe(data)


def test_unknown_values_are_what_train_lacks(told):
    frame, data, found = told
    frames = split_frames(frame)
    counts = frames["train"]["user"].value_counts()
    kept = counts.filter(pl.col("count") >= 2)["user"].to_list()
    facts = {f.field.name: f for f in found.fields}
    for split, rows in frames.items():
        expected = 1 - rows["user"].is_in(kept).mean()
        assert facts["user"].unknown[split] == pytest.approx(expected)
        assert facts["price"].unknown[split] == pytest.approx(rows["price"].is_null().mean())
        values = np.minimum(rows["tags"].list.len(), 4).sum()
        assert facts["tags"].padded[split] == pytest.approx(1 - values / (4 * len(rows)))
        unknown = data.unknown_values[split]["user"] / data.kept_values[split]["user"]
        assert facts["user"].unknown[split] == pytest.approx(unknown)
    assert facts["user"].covered == 1.0
    assert facts["user"].median == counts.filter(pl.col("count") >= 2)["count"].median()


def test_how_values_are_spread():
    train, schema = one_field([0, 1, 1, 1, 1, 5, 5, 7], np.zeros(8), rows=11)
    (facts,) = fields.facts(schema.fields, [train])
    assert (facts.covered, facts.median, facts.largest) == (0.3, 2.0, 0.5)
    entropy = -(0.5 * np.log(0.5) + 0.25 * np.log(0.25) + 2 * 0.125 * np.log(0.125))
    assert facts.effective == pytest.approx(np.exp(entropy))


def test_counts_of_a_huge_table_are_those_of_a_small_one():
    draw = np.random.default_rng(0)
    ids = draw.integers(-1, 40, (500, 3)).astype(np.int32)
    weights = draw.random((500, 3))
    for w in (None, weights):
        small, huge = fields.counted(ids, 40, w), fields.counted(ids, 2**31 - 1, w)
        for a, b in zip(small, huge, strict=True):
            np.testing.assert_allclose(a, b)
    assert fields.counted(ids, 40)[1].sum() == (ids >= 0).sum()


def test_a_large_split_is_read_in_part(told):
    _, data, whole = told
    found = describe.describe(data, most_rows=2000)
    assert whole.whole
    assert not found.whole
    assert found.rows == whole.rows
    assert 1500 < found.looked_at["train"] <= 2000
    assert found.looked_at["test"] == 1200
    assert found.groups == []
    assert whole.groups
    records = sample.records_of(data, "train", 2000)
    assert records[0] == 0
    assert records[-1] == len(data.layout.blocks(data.rows["train"])) - 1
    by_key = {(r.key, r.split): r.rate for r in whole.rates}
    for rate in found.rates:
        assert rate.rate == pytest.approx(by_key[rate.key, rate.split], abs=0.06)


def test_groups(told):
    frame, _, found = told
    frames = split_frames(frame)
    train, _, test = found.groups
    users = frames["test"].group_by("user").agg(pl.len(), pl.col("click").mean())
    in_train = users["user"].is_in(frames["train"]["user"].unique().implode())
    assert (train.in_train, test.count) == (None, len(users))
    assert test.in_train == pytest.approx(in_train.mean())
    assert test.rows_in_train == pytest.approx(users["len"].filter(in_train).sum() / 1200)
    assert test.quantiles == pytest.approx(np.quantile(users["len"], groups.QUANTILES))
    mixed = users["click"].is_between(0, 1, closed="none").mean()
    assert test.both["click@all"] == (len(users), pytest.approx(mixed))
    clicked = frames["test"].filter(pl.col("click") == 1).group_by("user").agg(pl.mean("order"))
    mixed = clicked["order"].is_between(0, 1, closed="none").mean()
    assert test.both["order@click"] == (len(clicked), pytest.approx(mixed))


def test_repeated_rows():
    train, _ = one_field([[1, 2], [1, 2], [2, 1], [1, 2]], [0, 0, 0, 1])
    test, _ = one_field([[1, 2], [3, -1]], [1, 0], "test")
    found = groups.repeats([train, test])
    assert (found.rows, found.in_train) == (0.25, {"test": 0.5})
    other = dataclasses.replace(train, label_mask=np.array([[True], [False], [True], [True]]))
    assert groups.repeats([other]).rows == 0.0
