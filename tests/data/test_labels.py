"""The figures about labels, against a direct computation."""

import datetime

import numpy as np
import polars as pl
import pytest
from own_log import SCHEMA, log, one_field, prepared, shop, split_frames

from dtn_jax.datasets import adult
from dtn_jax.datasets.description import describe, labels
from dtn_jax.datasets.description.days import MOST_DAYS, shown_days
from dtn_jax.datasets.preparation import catalog
from dtn_jax.input.reader import SplitReader


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("shop")


def test_rates_of_adult(prepared_dir):
    found = describe.describe(catalog.load("adult", data_dir=prepared_dir))
    test = adult.read()[: adult.TEST_ROWS]
    for task in ("income", "never_married"):
        (rate,) = (r for r in found.rates if (r.key, r.split) == (f"{task}@all", "test"))
        assert (rate.rows, rate.positives) == (len(test), test[task].sum())
        assert rate.rate == pytest.approx(test[task].mean())
        weights = test["fnlwgt"].to_numpy()
        weighted = np.average(test[task].to_numpy(), weights=weights)
        assert rate.weighted == pytest.approx(weighted, rel=1e-5)
        half = 1.96 * np.sqrt(rate.rate * (1 - rate.rate) / rate.rows)  # Wald's, of many rows
        assert [rate.low, rate.high] == pytest.approx(
            [rate.rate - half, rate.rate + half], abs=1e-4
        )
    assert (found.days, found.groups, found.whole) == ([], [], True)


def test_rates_of_a_log_in_every_space(folder):
    frame, data = shop(folder)
    found = describe.describe(data)
    for split, rows in split_frames(frame).items():
        clicked = rows.filter(pl.col("click") == 1)
        own = {r.key: (r.rows, r.positives) for r in found.rates if r.split == split}
        assert own == {
            "click@all": (len(rows), rows["click"].sum()),
            "order@all": (len(rows), rows["order"].sum()),
            "order@click": (len(clicked), clicked["order"].sum()),
        }
        (watch,) = (s for s in found.spreads if s.split == split)
        assert watch.rows == len(clicked)
        facts = clicked["watch"].mean(), clicked["watch"].std(ddof=0), clicked["watch"].median()
        assert [watch.mean, watch.deviation, watch.quantiles[2]] == pytest.approx(facts, rel=1e-5)
        assert found.missing[split] == {"watch": pytest.approx(1 - len(clicked) / len(rows))}


def test_sampled_negatives_count_by_weight(tmp_path):
    """Half of the negatives stay, and weigh 2: each figure is that of a log that has them twice."""
    schema = SCHEMA.replace("known: click == 1", "known: click == 1 or user > 1")
    frame = log(2000).with_columns(watch=12 - 10 * pl.col("click") + pl.col("item") % 3)
    data = prepared(tmp_path, frame, f"{schema}sample_negatives: {{click: 0.5}}\n")
    found = describe.describe(data)
    for split in ("train", "validation", "test"):
        rows = SplitReader(data, split).everything()
        times = np.full(len(rows.labels), 1)
        if split == "train":
            times = np.where(rows.labels[:, 0] == 1, 1, 2)
        twice, known = np.repeat(rows.labels[:, 2], times), np.repeat(rows.label_mask[:, 2], times)
        (watch,) = (s for s in found.spreads if s.split == split)
        assert watch.rows == rows.label_mask[:, 2].sum()
        expected = np.quantile(twice[known], labels.QUANTILES, method="inverted_cdf")
        assert watch.quantiles == pytest.approx(expected)
        assert watch.mean == pytest.approx(twice[known].mean(dtype=float))
        assert watch.deviation == pytest.approx(twice[known].std(dtype=float))
        assert found.missing[split]["watch"] == pytest.approx(1 - known.mean())
    (train,) = (s for s in found.spreads if s.split == "train")
    rows = SplitReader(data, "train").everything()
    assert train.mean > 1.1 * rows.labels[rows.label_mask[:, 2], 2].mean()  # of the rows kept
    whole = split_frames(frame)["train"].filter((pl.col("click") == 1) | (pl.col("user") > 1))
    assert train.mean == pytest.approx(whole["watch"].mean(), rel=0.05)
    (day, *_) = found.days  # counted before any row was left out
    first = frame.filter(pl.col("t").dt.date() == day.date)
    first = first.filter((pl.col("click") == 1) | (pl.col("user") > 1))
    assert day.sums["watch@all"] == (len(first), pytest.approx(first["watch"].sum(), rel=1e-6))


def test_days_of_a_log(folder):
    frame, data = shop(folder)
    by_day = frame.group_by(day=pl.col("t").dt.date()).agg(pl.len(), pl.col("order").sum())
    expected = {day: (rows, orders) for day, rows, orders in by_day.rows()}
    got = labels.days(data.notes)
    assert {day.date: (day.rows, day.sums["order@all"][1]) for day in got} == expected
    assert [day.date for day in got] == sorted(expected)


def test_many_days_are_put_together():
    start = datetime.date(2025, 1, 1)
    days = [
        labels.Day(start + datetime.timedelta(days=n), n, {"click@all": (n, n / 2)})
        for n in range(400)
        if n not in (8, 9)
    ]
    periods, width = shown_days(days)
    assert width == 7
    assert len(periods) == 58 <= MOST_DAYS
    assert periods[1].date == start + datetime.timedelta(days=7)
    assert periods[1].rows == 7 + 10 + 11 + 12 + 13  # the log lacks the days 8 and 9
    assert periods[1].sums["click@all"] == (53, 26.5)
    assert sum(day.rows for day in periods) == sum(day.rows for day in days)
    assert shown_days(days[:100]) == (days[:100], 1)


def test_pairs_of_labels(folder):
    frame, data = shop(folder)
    found = describe.describe(data).pairs
    train = split_frames(frame)["train"]
    assert found.tasks == ["click", "order"]
    phi = np.corrcoef(train["click"], train["order"])[0, 1]
    np.testing.assert_allclose(found.phi, [[1, phi], [phi, 1]])
    rate = train.filter(pl.col("click") == 1)["order"].mean()
    np.testing.assert_allclose(found.given, [[1, rate], [1, 1]])


def test_labels_that_do_not_vary_have_no_correlation():
    train, schema = one_field([1, 2, 3], [1, 1, 1])
    assert labels.pairs(train, schema) is None  # one label
    (rate,) = labels.rates(train, schema)
    assert (rate.rate, rate.high) == (1.0, 1.0)
    assert rate.low < 0.5
