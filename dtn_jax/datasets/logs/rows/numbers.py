"""The numbers of a chunk's rows, and the rows that have none which can be stored.

NaN in a column of floats is a missing value, as pandas has it. In a vector, whose numbers belong
together, it is an error, and so is an infinite number anywhere.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from dtn_jax.datasets.logs.formula import Expression
from dtn_jax.datasets.logs.times import Type
from dtn_jax.datasets.preparation.bags import flat
from dtn_jax.shapes import Bool

WRONG_TYPE = "wrong type"
NOT_FINITE = "number that is not finite"
TOO_LARGE = "number beyond the range of 32-bit floats"  # in which it would be stored as infinity
LARGEST = float(np.finfo(np.float32).max)

Bad = dict[str, Bool[np.ndarray, " B"]]  # {reason: the rows}


def singles(expression: Expression, frame: pl.DataFrame) -> tuple[pl.Series, Bad]:
    """An expression's values as float64 `[B]`, null where missing or bad, and the bad rows."""
    if expression.column and _is_number(frame[expression.column].dtype):
        values = frame[expression.column].cast(pl.Float64)
        if (np.abs(values.to_numpy()) <= LARGEST).all():  # not of a null, which is NaN
            return values.alias(expression.text), {}
    values, wrong = expression.read(frame, "number")
    values, wrong = values.cast(pl.Float64).fill_nan(None), wrong.to_numpy()
    bad = {}
    if wrong.any():
        endless = wrong & _endless(frame[expression.column]) if expression.column else wrong & False
        bad = {NOT_FINITE: endless, WRONG_TYPE: wrong & ~endless}
    large = np.abs(values.to_numpy()) > LARGEST  # False of a null
    if large.any():
        bad[TOO_LARGE] = large
        values = values.set(pl.Series(large), None)
    return values, bad


def _is_number(kind: Type) -> bool:
    return kind.is_integer() or kind.is_float()


def _endless(column: pl.Series) -> Bool[np.ndarray, " B"]:
    """Where a column of numbers or texts says infinity, or a text NaN."""
    text = column.dtype == pl.String
    numbers = (column.str.strip_chars() if text else column).cast(pl.Float64, strict=False)
    return (~numbers.is_finite()).fill_null(False).to_numpy()


def lists(column: pl.Series) -> tuple[pl.Series, Bad]:
    """A list column as lists of float64, and the bad rows; a list that is missing is not bad."""
    numbers = column.cast(pl.List(pl.Float64), strict=False)
    inner = flat(numbers)
    if (inner.is_finite() & (inner.abs() <= LARGEST)).fill_null(False).all():
        return numbers, {}
    item = pl.element()
    tests = {
        WRONG_TYPE: item.is_null(),
        NOT_FINITE: ~item.is_finite(),
        TOO_LARGE: item.is_finite() & (item.abs() > LARGEST),
    }
    return numbers, {
        reason: numbers.list.eval(test).list.any().fill_null(False).to_numpy()
        for reason, test in tests.items()
    }
