"""Days of rows: stored in row order, as numbers; sets without are as they were."""

import datetime
import json
import pathlib

import numpy as np
import polars as pl
import pytest
from shop import Shop, prepare

from dtn_jax.datasets.preparation.dates import check_day
from dtn_jax.datasets.preparation.prepared import read
from dtn_jax.errors import UserError
from dtn_jax.schema import Schema


class Dated(Shop, skip_registration=True):
    """The same set, its rows dated by a column."""

    day = "date"


def with_dates(splits):
    """{split: frames}, each row a day later than the one before, from 1969-12-30 on."""
    first, found = datetime.date(1969, 12, 30), {}
    for split, frames in splits.items():
        joined = pl.concat(frames)
        dates = [first + datetime.timedelta(n) for n in range(len(joined))]
        found[split] = [joined.with_columns(date=pl.Series(dates))]
    return found


def test_days_are_stored_in_row_order(splits, tmp_path):
    builder = Dated(with_dates(splits), data_dir=str(tmp_path))
    builder.download_and_prepare()
    data = read(pathlib.Path(builder.data_dir))
    assert data.schema.day == "date"
    for split, frames in splits.items():
        expected = np.arange(len(pl.concat(frames))) - 2
        got = data.days(split)
        assert got.dtype == np.int32
        np.testing.assert_array_equal(got, expected)
        for part in (slice(1, 2), slice(0, 5), slice(2, len(got)), slice(3, 3)):
            np.testing.assert_array_equal(data.days(split, part), expected[part])


def test_sets_without_days_are_as_they_were(splits, tmp_path):
    data = prepare(splits, tmp_path)
    assert data.days("train") is None
    assert "day" not in data.source("train")[0]
    assert "day" not in json.loads((data.folder / "schema.json").read_text())
    assert Schema.from_json(data.schema.to_json()) == data.schema


def test_a_set_with_days_has_the_recipe_of_one_without(splits, tmp_path):
    """So that a set which an earlier version prepared is still read."""
    dated = Dated(with_dates(splits), data_dir=str(tmp_path / "dated"))
    assert dated.recipe() == Shop(splits, data_dir=str(tmp_path / "shop")).recipe()


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"other": [1]}, "column 'date' is missing; the columns are: other"),
        ({"date": [20220408]}, "day 'date' has the type Int64; expected a date, never missing"),
        (
            {"date": pl.Series([datetime.date(2022, 4, 8), None], dtype=pl.Date)},
            "day 'date' is None in row 102",
        ),
    ],
)
def test_a_bad_day(column, message):
    with pytest.raises(UserError, match=f"^shop/train: {message}"):
        check_day(pl.DataFrame(column), "date", "shop/train", first_row=100)


def test_the_builder_checks_its_days(splits, tmp_path):
    splits = with_dates(splits)
    splits["test"][0] = splits["test"][0].with_columns(date=pl.lit(3))
    with pytest.raises(UserError, match="test: day 'date' has the type Int32"):
        Dated(splits, data_dir=str(tmp_path)).download_and_prepare()
