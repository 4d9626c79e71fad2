"""The cast of rows to score, which come in any types, to the types that training had.

A value that was there and is not after the cast makes a bad row. No number is rounded, but to the
digits of training's float32, and no time loses its hour. Bytes are text, as in files.
"""

from __future__ import annotations

import datetime
import decimal
import itertools
from collections.abc import Sequence

import numpy as np
import polars as pl

from dtn_jax.data import times
from dtn_jax.data.clean import WRONG_TYPE, Reject
from dtn_jax.data.raw.lines import NOT_UTF8
from dtn_jax.data.raw.types import Type, as_type, lists
from dtn_jax.shapes import Bool

DATE = "a date or time such as 2026-03-09T12:00:00Z"
WHOLE_DAY = "a date without an hour, such as 2026-03-09, as training had them"
PYTHON: dict[type, Type] = {bool: pl.Boolean, int: pl.Int64, float: pl.Float64, str: pl.String}
SEQUENCES = (list, tuple, np.ndarray, pl.Series)
NOT_THERE = ("NAType", "NaTType")  # types of pandas
TIMES = (datetime.datetime, datetime.date, datetime.time)


def typed(column: pl.Series, kind: Type, reject: Reject) -> pl.Series:
    """A column in the type that training had, null where it is missing.

    Args:
      column: of any type.
      kind: of training.
      reject: is told of rows whose value is there, but none of that type.
    """
    if column.dtype == kind:
        return column
    cast = as_type(column, kind)
    lost = cast.is_null() & column.is_not_null()
    if column.dtype.is_float():
        lost &= column.is_not_nan()
    if kind == pl.List and column.dtype == pl.List and cast.count():
        inside = cast.list.eval(pl.element().is_null()).list.sum()
        missing = pl.element().is_null()
        if column.dtype.inner.is_float():
            missing |= pl.element().is_nan()
        lost |= (inside > column.list.eval(missing).list.sum()).fill_null(False)
    if lost.any():
        coded = column.dtype in (pl.Binary, pl.List(pl.Binary))
        reject(~lost, NOT_UTF8 if coded else _reason(kind), column)
    return cast


def of_values(name: str, values: Sequence, kind: Type, reject: Reject) -> pl.Series:
    """A column of Python's values, each by a type of its own; see `typed`. NaN is missing."""
    column, lost = _of_values(values, kind)
    if lost.any():
        shown = [v.item() if isinstance(v, np.generic) else v for v in values]
        reject(~lost, _reason(kind), pl.Series(name, shown, dtype=pl.Object))
    return column.alias(name)


def _reason(kind: Type) -> str:
    if kind == pl.List or not times.is_date(kind):
        return WRONG_TYPE
    return f"expected {WHOLE_DAY if kind == pl.Date else DATE}"


def _of_values(values: Sequence, kind: Type) -> tuple[pl.Series, Bool[np.ndarray, " B"]]:
    """The values in a type, and where one is lost."""
    if kind == pl.List:
        return _of_lists(values, kind.inner)
    types = set(map(type, values)) - {type(None)}
    if len(types) < 2 and (known := PYTHON.get(next(iter(types), int))):
        try:
            column = pl.Series(values, dtype=known)
            cast = as_type(column, kind)
            if cast.null_count() == column.null_count():  # as where single rows are served
                return cast, np.zeros(len(cast), bool)
            lost = cast.is_null() & column.is_not_null()
            lost &= column.is_not_nan() if known == pl.Float64 else True
            return cast, lost.to_numpy()
        except (OverflowError, TypeError, UnicodeEncodeError):
            pass  # one is beyond 64 bits, or half a surrogate pair
    plain = list(map(_plain, values))
    cast = pl.Series([None] * len(plain), dtype=kind)
    for python, known in PYTHON.items():
        if python in set(map(type, plain)):
            part = pl.Series([v if type(v) is python else None for v in plain], dtype=known)
            cast = cast.zip_with(part.is_null(), as_type(part, kind))
    return cast, cast.is_null().to_numpy() & np.array(list(map(_is_there, values)), bool)


def _of_lists(values: Sequence, inner: Type) -> tuple[pl.Series, Bool[np.ndarray, " B"]]:
    """The same of lists; a list is lost with any of its values."""
    given = [list(value) if isinstance(value, SEQUENCES) else None for value in values]
    lengths = [len(value or ()) for value in given]
    items, gone = _of_values(list(itertools.chain.from_iterable(filter(None, given))), inner)
    missing = np.array([value is None for value in given], bool)
    lost = missing & np.array(list(map(_is_there, values)), bool)
    lost[np.repeat(np.arange(len(given)), lengths)[gone]] = True
    return lists(items, np.array(lengths, np.int64), missing), lost


def _is_there(value: object) -> bool:
    """Whether a value is neither None nor NaN, nor what pandas has for a missing one."""
    number = value.item() if isinstance(value, np.generic) else value
    if number is None or type(number).__name__ in NOT_THERE:
        return False
    return not (isinstance(number, float) and number != number)


def _plain(value: object) -> bool | int | float | str | None:
    """A single value as one of the types of PYTHON; None of any other, and of what is no text."""
    if not _is_there(value):
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, decimal.Decimal):
        value = int(value) if value.is_finite() and value == int(value) else float(value)
    if isinstance(value, datetime.datetime) and value.tzinfo:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    if isinstance(value, TIMES) or (type(value) is int and not -(2**63) <= value < 2**63):
        value = str(value)
    try:
        value = value.decode() if isinstance(value, bytes) else value
        return value if type(value) in PYTHON and str(value).encode() is not None else None
    except UnicodeError:
        return None
