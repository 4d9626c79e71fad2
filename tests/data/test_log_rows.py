"""A prepared log holds its raw rows: every id, number, label and group, in the files' order."""

import itertools

import numpy as np
import polars as pl
import pytest
from world import log

from dtn_jax.cli import description
from dtn_jax.data.epochs.day_order import read_days
from dtn_jax.data.epochs.reader import SplitReader


@pytest.fixture(scope="module")
def shop(prepared_dir):
    return log.shared(prepared_dir)[1]


@pytest.fixture(scope="module")
def frames(prepared_dir):
    return log.split_frames(log.shared(prepared_dir)[0])


@pytest.fixture(scope="module")
def batches(shop):
    return {split: SplitReader(shop, split).everything() for split in log.SPLITS}


def ids(shop, batch, field):
    return np.asarray(batch.ids)[:, log.slots(shop, field)]


def often(column, least=2):
    """{text: count} of the values that are there often enough."""
    counts = column.drop_nulls().value_counts().filter(pl.col("count") >= least)
    return {str(value): count for value, count in counts.iter_rows()}


def test_the_rows_are_those_of_the_log_in_its_order(shop, frames, batches):
    assert shop.rows == {split: len(frame) for split, frame in frames.items()}
    assert shop.notes["read"] == 1500
    assert shop.notes["rejected"] == {}
    for split, frame in frames.items():
        found = batches[split]
        np.testing.assert_array_equal(shop.groups(split), frame["user"])
        assert shop.kept_values[split]["user"] == len(frame)  # each counted once
        np.testing.assert_array_equal(found.labels[:, :2], frame["click", "order"])
        np.testing.assert_array_equal(found.sample_weight, frame["w"])
        known = frame["click"].to_numpy() == 1
        np.testing.assert_array_equal(found.label_mask[:, 2], known)
        expected = np.where(known, np.log1p(frame["seconds"].to_numpy()), 0)
        np.testing.assert_allclose(found.labels[:, 2], expected, rtol=1e-6)
        days = frame["t"].dt.date().to_physical()
        np.testing.assert_array_equal(shop.days(split), days)
    assert read_days(shop, "train").known == list(range(20_513, 20_521))  # 2026-03-01 on


def test_a_vocabulary_has_the_values_that_train_shows_often_enough(shop, frames, batches):
    known = often(frames["train"]["user"])
    assert {f.name: f.rows for f in shop.schema.fields}["user"] == 1 + len(known)
    for split, frame in frames.items():
        expected = [str(u) if str(u) in known else None for u in frame["user"]]
        assert log.values(shop, split, "user") == expected
    rows = ids(shop, batches["train"], "user")[:, 0].tolist()
    by_row = dict(zip(rows, log.values(shop, "train", "user")))
    counts = [known[by_row[row]] for row in sorted(by_row) if row]
    assert counts == sorted(counts, reverse=True)  # the most frequent first


def test_lists_share_the_items_table_and_keep_the_first_or_the_newest(shop, frames, batches):
    """A sequence's values count for the vocabulary no more than once, those of bags do."""
    train = frames["train"]
    every = pl.concat([train["item"], train["seen"].list.head(3).explode()])
    assert set(often(every)) <= set(filter(None, log.values(shop, "train", "item")))
    known = set(log.names(shop, "item", range(1, 31)).values())
    for split, frame in frames.items():
        for field, kept in (
            ("seen", frame["seen"].list.head(3)),
            ("viewed", frame["viewed"].list.tail(4)),
        ):
            expected = [[str(v) if str(v) in known else None for v in row] for row in kept]
            assert log.values(shop, split, field) == expected
        actions = log.values(shop, split, "action")
        assert actions == frame["viewed_action"].list.tail(4).to_list()
        weights = [row[:3] + [0] * (3 - len(row[:3])) for row in frame["seen_weights"].to_list()]
        np.testing.assert_allclose(batches[split].weights, weights)


def test_numbers_are_bucketed_or_standardised_by_train(shop, frames, batches):
    train = frames["train"]
    mean, deviation = train["speed"].mean(), train["speed"].std(ddof=0)
    vectors = np.array(train["embedding"].drop_nulls().to_list())
    centre, spread = vectors.mean(axis=0), vectors.std(axis=0)
    for split, frame in frames.items():
        found = batches[split]
        speed = (frame["speed"].to_numpy() - mean) / deviation
        np.testing.assert_allclose(found.numeric[:, 0], speed, rtol=1e-4, atol=1e-6)
        there = frame["embedding"].is_not_null().to_numpy()
        np.testing.assert_array_equal(ids(shop, found, "embedding")[:, 0], there)
        expected = np.zeros((len(frame), 3))
        expected[there] = (np.array(frame["embedding"].drop_nulls().to_list()) - centre) / spread
        np.testing.assert_allclose(found.numeric[:, 1:], expected, rtol=1e-4, atol=1e-5)
    price = ids(shop, batches["train"], "price")[:, 0]
    ranks = [train["price"].to_numpy()[price == row] for row in range(1, 9)]
    assert all(a.max() < b.min() for a, b in itertools.pairwise(ranks))
    assert max(map(len, ranks)) - min(map(len, ranks)) <= 6  # equal prices stay together


def test_a_cross_tells_pairs_apart(shop, frames, batches):
    frame = frames["train"]
    found = ids(shop, batches["train"], "user_x_hour")[:, 0]
    pairs = {}
    for pair, row in zip(zip(frame["user"], frame["t"].dt.hour(), strict=True), found, strict=True):
        assert pairs.setdefault(pair, row) == row
    assert len(set(pairs.values())) == 40  # every row is used


def test_the_days_of_the_log_are_kept(shop, frames):
    frame = pl.concat(frames.values())
    days = dict(shop.notes["days"]["rows"])
    expected = frame["t"].dt.date().value_counts().sort("t")
    assert list(days.values()) == expected["count"].to_list()
    sums = shop.notes["days"]["sums"]
    clicks = (frame["click"] * frame["w"]).sum()  # rows count by their weights
    assert sum(total for _, _, total in sums["click@all"]) == clicks
    assert sum(count for _, count, _ in sums["order@click"]) == clicks


def test_what_max_values_cuts_is_told(shop, frames, tmp_path):
    """In the table of fields, which a description has."""
    lengths = frames["train"]["seen"].list.len()
    share = (lengths.cast(pl.Int64) - 3).clip(0).sum() / lengths.sum()
    assert shop.cut_shares()["seen"] == pytest.approx(share)
    rows = {name: cells for name, *cells in description.kept_fields(shop).rows}
    assert f"{100 * share:.1f} %" in rows["seen"]
    bag = "max_values: {}, weights: seen_weights"
    text = log.SCHEMA.replace(bag.format(3), bag.format("1, keep: last"))
    last = log.prepared(tmp_path, pl.concat(frames.values()), text)
    kept = SplitReader(last, "test").everything().weights
    for row, weights in zip(frames["test"]["seen_weights"].to_list(), kept, strict=True):
        assert weights.tolist() == (row[-1:] or [0])


def test_hashed_fields_know_what_is_missing_but_not_what_is_new(tmp_path):
    frame = log.rows(600).with_columns(query=pl.when(pl.int_range(600) % 3 > 0).then("query"))
    text = "name: shop\nfields: {query: {encoder: hash, size: 50}, user: {}}\ntasks: [click]\n"
    made = log.prepared(tmp_path, frame, text)
    query, found = made.schema.fields[0], description.unknown_share
    share = np.mean(np.asarray(SplitReader(made, "train").everything().ids)[:, 0] == 0)
    assert found(made, "train", query) == pytest.approx(share)
    assert found(made, "validation", query) is found(made, "test", query) is None
    grid = description.kept_fields(made)
    assert list(grid.rows[0][-3:]) == [f"{100 * share:.1f} %", "–", "–"]
    assert not any("cut" in name for name in grid.header)  # no bags
