"""The unit of a time column is found before the expressions that need it are checked."""

import polars as pl
import pytest
from damaged_logs import frame, schema_file

from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.errors import UserError

TEXT = """
name: shop
fields:
  user:
  hour: {value: hour(t)}
tasks:
  click:
group: user
time: t
"""


def prepared(folder, data, text=TEXT):
    folder.mkdir(exist_ok=True)
    data.write_parquet(folder / "log.parquet")
    schema = schema_file(folder, text)
    return prepare(schema, str(folder / "log.parquet"), folder, processes=1, max_reject_rate=0.0)


@pytest.mark.parametrize("unit", ["s", "ms"])
def test_hours_of_epoch_times_without_a_unit(unit, tmp_path):
    """They are those of the same times as dates."""
    dates, numbers = frame(), frame().with_columns(pl.col("t").dt.epoch(unit))
    assert numbers["t"].dtype == pl.Int64
    expected, found = (prepared(tmp_path / n, d) for n, d in (("a", dates), ("b", numbers)))
    assert found.rows == expected.rows
    for split in found.rows:
        for mine, theirs in zip(found.source(split), expected.source(split), strict=True):
            assert (mine["ids"] == theirs["ids"]).all()
    hours = {field.name: field.rows for field in found.schema.fields}["hour"]
    assert hours == 25  # and the unknown one


def test_first_rows_without_a_time_do_not_decide_the_unit(tmp_path):
    """The first file has none at all; the first row of the log that has one says it."""
    (tmp_path / "log").mkdir()
    data = frame().with_columns(pl.col("t").dt.epoch("s"))
    empty = data.head(2).with_columns(t=pl.lit(None, pl.Int64))
    empty.write_parquet(tmp_path / "log/a.parquet")
    data.write_parquet(tmp_path / "log/b.parquet")
    schema = schema_file(tmp_path, TEXT)
    made = prepare(schema, str(tmp_path / "log"), tmp_path, processes=1, max_reject_rate=0.01)
    assert sum(made.rows.values()) == len(data)


def test_plain_numbers_have_no_hour(tmp_path):
    with pytest.raises(UserError, match="t holds plain numbers, not times"):
        prepared(tmp_path, frame().with_columns(t=pl.int_range(2_000)))


def test_a_time_column_that_is_missing_or_nested_is_told_as_before(tmp_path):
    with pytest.raises(UserError, match=r"unknown column.*'tt'.*Did you mean 't'"):
        prepared(tmp_path, frame(), TEXT.replace("time: t", "time: tt"))
    with pytest.raises(UserError, match=r"column 'vec' of .* expected single values"):
        prepared(tmp_path, frame(), TEXT.replace("time: t", "time: vec"))
