"""The column that says on which day a row was logged, as whole days since 1970-01-01."""

from __future__ import annotations

import numpy as np
import polars as pl

from dtn_jax.datasets.preparation.checks import check_columns, check_values
from dtn_jax.errors import UserError
from dtn_jax.shapes import Int32


def check_day(frame: pl.DataFrame, day: str, where: str, first_row: int = 0) -> None:
    """Raises UserError if the column or a value is missing, or the column holds no dates.

    Args:
      frame: a chunk of a split.
      day: the column.
      where: data set and split, for the message.
      first_row: rows of the split before this chunk, for the message.
    """
    check_columns(frame, [day], where)
    column, expected = frame[day], "a date, never missing"
    if column.dtype != pl.Date:
        raise UserError(f"{where}: day {day!r} has the type {column.dtype}; expected {expected}")
    check_values(column, column.is_not_null(), "day", expected, where, first_row)


def day_numbers(column: pl.Series) -> Int32[np.ndarray, " B"]:
    """The number of each row's day, int32 `[B]`."""
    return column.to_physical().to_numpy()
