"""Checks raw frames before anything is fitted on them or written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.errors import UserError, listed
from dtn_jax.schema import Task


def check_frame(
    frame: pl.DataFrame,
    encoders: Mapping[str, enc.Encoder],
    tasks: tuple[Task, ...],
    weight: str,
    where: str,
    first_row: int = 0,
) -> None:
    """Raises UserError if a column is missing or has a wrong type, or a label or weight is wrong.

    Args:
      frame: a chunk of a split.
      encoders: by field; numeric encoders need a numeric column, Identity integers.
      tasks: their labels may be missing (null or NaN), but not wrong.
      weight: the column of the examples' weights, or "".
      where: data set and split, for the message.
      first_row: rows of the split before this chunk, for the message.
    """
    weights = [weight] if weight else []
    wanted = [*encoders, *(t.name for t in tasks), *weights]
    check_columns(frame, wanted, where)
    for name, encoder in encoders.items():
        if isinstance(encoder, enc.Bag):
            check_bag(frame, name, encoder.weights, where, first_row)
    for name in wanted:
        encoder, dtype = encoders.get(name), frame[name].dtype
        if isinstance(encoder, enc.Identity):
            expected, good = "of integers", dtype.is_integer()
        elif encoder is None or isinstance(encoder, enc.NUMERIC):
            expected, good = "numeric", dtype.is_numeric() or dtype == pl.Boolean
        else:
            continue
        if not good and dtype != pl.Null:
            examples = ", ".join(map(repr, frame[name].head(2)))
            raise UserError(
                f"{where}: column {name!r} must be {expected}, got {dtype} (such as {examples})"
            )
    for task in tasks:
        column = frame[task.name].cast(pl.Float32).fill_nan(None)  # as they are stored
        if task.kind == "binary":
            good, expected = column.is_in([0.0, 1.0]), "0, 1 or missing"
        else:
            good, expected = column.is_finite(), "a finite number or missing"
        good = good.fill_null(True)
        check_values(frame[task.name], good, "label", expected, where, first_row)
    for name in weights:
        column = frame[name].cast(pl.Float32).fill_null(np.nan)
        good = column.is_finite() & (column >= 0)
        check_values(frame[name], good, "weight", "a finite number, 0 or more", where, first_row)


def check_bag(frame: pl.DataFrame, name: str, weights: str, where: str, first_row: int) -> None:
    """Raises UserError if a column does not hold lists, or `weights` does not hold a finite number
    for each of their values."""
    for column in filter(None, (name, weights)):
        check_columns(frame, [column], where)
        dtype = frame[column].dtype
        lists, numbers = dtype == pl.List, column == weights
        if not lists or (numbers and not (dtype.inner.is_numeric() or dtype.inner == pl.Null)):
            expected = "lists of numbers" if numbers else "lists"
            raise UserError(f"{where}: column {column!r} must hold {expected}, got {dtype}")
    if weights:
        finite = pl.element().cast(pl.Float32).is_finite().fill_null(False)
        good = frame.select(
            (pl.col(name).list.len().fill_null(0) == pl.col(weights).list.len().fill_null(0))
            & pl.col(weights).list.eval(finite).list.all().fill_null(True)
        ).to_series()
        expected = f"a finite number for each value of {name!r}"
        check_values(frame[weights], good, "weights", expected, where, first_row)


def check_columns(frame: pl.DataFrame, wanted: Sequence[str], where: str) -> None:
    """Raises UserError that names the first missing column."""
    missing = [c for c in wanted if c not in frame.columns]
    if missing:
        raise UserError(
            f"{where}: column {missing[0]!r} is missing; the columns are: {listed(frame.columns)}"
        )


def check_values(
    column: pl.Series, good: pl.Series, what: str, expected: str, where: str, first_row: int
) -> None:
    """Raises UserError that shows the first row where `good` is False."""
    bad = (~good).arg_true()
    if len(bad):
        at = int(bad[0])
        value = column[at : at + 1].to_list()[0]  # of a list column a list
        raise UserError(
            f"{where}: {what} {column.name!r} is {value!r} in row {first_row + at + 1} "
            f"({len(bad)} such rows in this chunk); expected {expected}"
        )
