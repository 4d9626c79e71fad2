"""Raw rows in any of the forms that Python has for them, as a polars table of the wanted columns.

A row that lacks a column has a null there; a column that no row has is missing, which is an error
unless the model can do without it.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.data.clean import WRONG_TYPE
from dtn_jax.datasets.logs.raw import arrow_types, json_types
from dtn_jax.datasets.logs.raw.json_types import Kinds
from dtn_jax.datasets.logs.raw.lines import NOT_UTF8
from dtn_jax.errors import UserError
from dtn_jax.export.encoded import Bad

TIMES = (datetime.datetime, datetime.date, datetime.time)
FORMS = "a list of dicts, a table of polars, pandas or Arrow"


def table(rows: Any, columns: Sequence[str], optional: Sequence[str]) -> tuple[pl.DataFrame, Bad]:
    """The wanted columns of raw rows, and the rows that do not fit a table.

    Args:
      rows: a list of dicts, a polars or pandas DataFrame, an Arrow table or record batch.
      columns: what is wanted; other columns are not looked at.
      optional: of these, what may be missing; it is null then.

    Raises:
      UserError: another form, a required column is missing, or a table that Arrow can't read.
    """
    pandas = type(rows).__module__.partition(".")[0] == "pandas" and hasattr(rows, "columns")
    tables = pl.DataFrame | pa.Table | pa.RecordBatch
    dicts = isinstance(rows, Sequence) and not isinstance(rows, str | bytes)
    if not pandas and not dicts and not isinstance(rows, tables):
        hint = "; collect() it first" if isinstance(rows, pl.LazyFrame) else ""
        raise UserError(f"rows are {type(rows).__name__}, expected {FORMS}{hint}")
    count = rows.num_rows if isinstance(rows, pa.RecordBatch) else len(rows)
    bad = Bad(np.arange(1, count + 1))
    if pandas:
        found = _of_pandas(rows, columns, optional, bad)
    elif isinstance(rows, pa.Table | pa.RecordBatch):
        found = _of_arrow(rows, columns, optional)
    elif isinstance(rows, pl.DataFrame):
        check_there(rows.columns, columns, optional)
        found = {name: rows[name] for name in columns if name in rows.columns}
    else:
        found = _of_dicts(rows, columns, optional, bad)
    nothing = pl.Series([None] * count, dtype=pl.Null)
    every = {name: plain(found.get(name, nothing).alias(name), bad) for name in columns}
    return pl.DataFrame(every), bad


def check_there(there: Sequence[str], columns: Sequence[str], optional: Sequence[str]) -> None:
    """Raises UserError that names the required columns that are missing, and ones near to them."""
    missing = [name for name in columns if name not in there and name not in optional]
    if not missing:
        return
    near = difflib.get_close_matches(missing[0], list(there), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    named = ", ".join(map(repr, missing))
    listed = ", ".join(there) or "none"
    raise UserError(
        f"the rows have no column{'s' if len(missing) > 1 else ''} {named}, which the model needs."
        f"{hint} The columns are: {listed}."
    )


def plain(column: pl.Series, bad: Bad) -> pl.Series:
    """A column in one of the types that the encoders know.

    Dictionaries stay, which polars calls categorical. Decimals become floats, arrays of a fixed
    size lists, and bytes text. Rows that hold anything else are bad.
    """
    dtype, name = column.dtype, column.name
    if isinstance(dtype, pl.Decimal):
        return arrow_types.floats(column)
    if isinstance(dtype, pl.Array):
        return plain(column.arr.to_list(), bad)
    if isinstance(dtype, pl.List):
        if isinstance(dtype.inner, pl.Decimal):
            return arrow_types.floats(column)
        if not dtype.inner.is_nested() and dtype.inner not in (pl.Object, pl.Binary, pl.Duration):
            return column
    elif dtype == pl.Binary:
        text = column.cast(pl.String, strict=False)
        bad(text.is_not_null() | column.is_null(), NOT_UTF8, column)
        return text
    elif dtype in (pl.Int128, pl.UInt128):
        return column.cast(pl.String)
    elif not isinstance(dtype, pl.Struct) and dtype not in (pl.Object, pl.Duration):
        return column
    there = pl.Series(name, [v is not None for v in column]) if dtype == pl.Object else None
    bad(~there if there is not None else column.is_null(), WRONG_TYPE, column)
    return pl.Series(name, [None] * len(column), dtype=pl.Null)


def _once_each(there: Sequence[str], columns: Sequence[str], optional: Sequence[str]) -> list[str]:
    """The wanted columns that are there; raises UserError where one is missing, or there twice."""
    check_there(there, columns, optional)
    found = [name for name in columns if name in there]
    if twice := [name for name in found if there.count(name) > 1]:
        raise UserError(f"the rows have column {twice[0]!r} more than once")
    return found


def _of_arrow(
    rows: pa.Table | pa.RecordBatch, columns: Sequence[str], optional: Sequence[str]
) -> dict[str, pl.Series]:
    found = {}
    for name in _once_each(rows.schema.names, columns, optional):
        try:
            found[name] = pl.from_arrow(rows.column(name))
        except (pa.ArrowException, pl.exceptions.PolarsError, ValueError) as error:
            raise UserError(f"column {name!r} of the Arrow table can't be read: {error}") from None
    return found


def _of_pandas(
    rows: Any, columns: Sequence[str], optional: Sequence[str], bad: Bad
) -> dict[str, pl.Series]:
    there = [name for name in rows.columns if isinstance(name, str)]
    found = {}
    for name in _once_each(there, columns, optional):
        try:
            found[name] = pl.from_arrow(pa.Array.from_pandas(rows[name]))
        except (pa.ArrowException, TypeError, ValueError):  # values of several types
            found[name] = _column(name, list(map(_value, rows[name].tolist())), bad)
    return found


def _of_dicts(
    rows: Sequence, columns: Sequence[str], optional: Sequence[str], bad: Bad
) -> dict[str, pl.Series]:
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise UserError(
                f"row {number + 1} is {type(row).__name__}, expected a dict of its columns"
            )
    there = {name: None for row in rows for name in row} if rows else dict.fromkeys(columns)
    check_there([name for name in there if isinstance(name, str)], columns, optional)
    return {name: _column(name, [_value(row.get(name)) for row in rows], bad) for name in columns}


def _column(name: str, values: list, bad: Bad) -> pl.Series:
    """A column of Python's values; rows whose value does not go with the others' are bad.

    NaN is a missing value, as in a table.
    """
    times = [isinstance(value, TIMES) for value in values]
    if any(times):
        if all(time or value is None for time, value in zip(times, values)):
            with contextlib.suppress(TypeError, pl.exceptions.PolarsError):  # of several types
                return pl.Series(name, values)
        values = [str(value) if time else value for time, value in zip(times, values)]
    kinds = Kinds.expected(values)
    good = np.array([_fits(value, kinds) for value in values], bool)
    if not good.all():
        text = np.array([_is_unicode(value) for value in values], bool)
        shown = pl.Series(name, list(map(_shown, values)))
        bad(text, json_types.NO_TEXT, shown)
        bad(good, WRONG_TYPE, shown)
        values = [value if fits else None for value, fits in zip(values, good)]
        kinds = Kinds.expected(values)
    return json_types.series(values, kinds).alias(name)


def _shown(value: object) -> str | None:
    if value is None or (type(value) is str and _is_unicode(value)):
        return value
    return (ascii if not _is_unicode(value) else repr)(value)[:200]


def _fits(value: object, kinds: Kinds) -> bool:
    items = value if type(value) is list else [value]
    known = all(item is None or type(item) in (bool, int, float, str) for item in items)
    return known and _is_unicode(value) and not json_types.misfit(value, kinds)


def _is_unicode(value: object) -> bool:
    """Whether texts have no half of a surrogate pair."""
    if isinstance(value, list):
        return all(map(_is_unicode, value))
    try:
        return not isinstance(value, str) or bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def _value(value: object) -> object:
    """A value as JSON has it, where it is one of the kinds that numpy and Python add."""
    if isinstance(value, np.generic):
        return _value(value.item())
    if isinstance(value, np.ndarray | pl.Series):
        return _value(value.tolist() if isinstance(value, np.ndarray) else value.to_list())
    if isinstance(value, decimal.Decimal):
        return int(value) if value.is_finite() and value == int(value) else float(value)
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    return value
