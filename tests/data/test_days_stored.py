"""A prepared log stores the day of each row, where its times are real ones."""

import numpy as np
import polars as pl
import pytest
from shop_log import prepared, rows, small_pieces

from dtn_jax.input.day_order import read_days

SMALL = """
name: shop
fields:
  item:
tasks:
  click:
split: {by: random, validation: 0.2, test: 0.2}
"""


def stored(data):
    return np.concatenate([data.days(split) for split in data.rows])


def test_each_row_has_its_day_whatever_the_order_of_the_log(tmp_path, monkeypatch):
    small_pieces(monkeypatch)  # so that several shards write
    frame = rows(1500).sample(fraction=1, shuffle=True, seed=1)
    data = prepared(tmp_path, frame)
    day = pl.col("t").dt.day()
    splits = {"train": day < 9, "validation": day == 9, "test": day == 10}
    assert data.schema.day == "t"
    for split, mask in splits.items():
        expected = frame.filter(mask)["t"].dt.date().to_physical().to_numpy()
        np.testing.assert_array_equal(data.days(split), expected)
    assert read_days(data, "train").known == list(range(20_513, 20_521))  # 2026-03-01 on


@pytest.mark.parametrize("unit", ["s", "ms"])
def test_stamps_of_a_unit_have_days_in_utc(unit, tmp_path):
    """The last second of a day and the first of the next, before 1970 too."""
    seconds = np.repeat([-1, 0, 86_399, 1_650_000_000], 100)
    times = pl.Series(seconds * (1000 if unit == "ms" else 1))
    frame = pl.DataFrame({"t": times, "item": ["a", "b"] * 200, "click": [0, 1] * 200})
    data = prepared(tmp_path, frame, SMALL + f"time: {{column: t, unit: {unit}}}\n")
    assert np.unique(stored(data), return_counts=True)[0].tolist() == [-1, 0, 19_097]
    assert np.bincount(stored(data) + 1)[[0, 1, 19_098]].tolist() == [100, 200, 100]


def test_a_log_without_real_times_has_no_days(tmp_path):
    frame = pl.DataFrame({"item": ["a", "b"] * 200, "click": [0, 1] * 200, "t": range(400)})
    without = prepared(tmp_path / "none", frame, SMALL)
    numbers = prepared(tmp_path / "numbers", frame, SMALL + "time: t\n")
    for data in (without, numbers):
        assert data.schema.day == ""
        assert data.days("train") is None
        assert "day" not in data.source("train")[0]
