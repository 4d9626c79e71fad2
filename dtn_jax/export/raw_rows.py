"""Raw rows in any of the forms that Python has for them, as a table of the types that training had.

A row that lacks a column has a null there; a column that no row has is missing, which is an error
unless the model can do without it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.data.cast import of_values, typed
from dtn_jax.data.raw import columnar
from dtn_jax.data.raw.types import Types
from dtn_jax.errors import UserError
from dtn_jax.export.encoded import Bad

FORMS = "a list of dicts, a table of polars, pandas or Arrow"


def table(
    rows: Any, types: Types, optional: Collection[str] = (), bad: Bad | None = None
) -> tuple[pl.DataFrame, Bad]:
    """The wanted columns of raw rows in their types, and the rows that have other values.

    Args:
      rows: a list of dicts, a polars or pandas DataFrame, an Arrow table or record batch.
      types: {column that is wanted: its type}; other columns are not looked at.
      optional: of these, what may be missing; it is null then.
      bad: is told of bad rows; None: a new one, which counts rows from 1.

    Raises:
      UserError: another form, a required column is missing, or a table that Arrow can't read.
    """
    names, column = _columns(rows)
    if names is None:  # of no dicts at all
        names = [*types]
    check_there(names, types, optional)
    if twice := [name for name in types if names.count(name) > 1]:
        raise UserError(f"the rows have column {twice[0]!r} more than once")
    count = rows.num_rows if isinstance(rows, pa.RecordBatch) else len(rows)
    bad = Bad(np.arange(1, count + 1)) if bad is None else bad
    nothing = pl.Series([None] * count, dtype=pl.Null)
    every = []
    for name, kind in types.items():
        values = column(name) if name in names else nothing
        if isinstance(values, pl.Series):
            every.append(typed(values.alias(name), kind, bad))
        else:
            every.append(of_values(name, values, kind, bad))
    return pl.DataFrame(every), bad


def check_there(there: Sequence[str], columns: Collection[str], optional: Collection[str]) -> None:
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


def _columns(rows: Any) -> tuple[list[str] | None, Callable[[str], pl.Series | list]]:
    """The names of the columns, and what gives one: a series, or values of several types."""
    if isinstance(rows, pl.DataFrame):
        return rows.columns, rows.__getitem__
    if isinstance(rows, pa.Table | pa.RecordBatch):
        return rows.schema.names, lambda name: _of_arrow(name, rows.column(name))
    if type(rows).__module__.partition(".")[0] == "pandas" and hasattr(rows, "columns"):
        names = [name for name in rows.columns if isinstance(name, str)]
        return names, lambda name: _of_pandas(rows[name])
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
        hint = "; collect() it first" if isinstance(rows, pl.LazyFrame) else ""
        raise UserError(f"rows are {type(rows).__name__}, expected {FORMS}{hint}")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise UserError(f"row {number} is {type(row).__name__}, expected a dict of its columns")
    names = dict.fromkeys(name for row in rows for name in row if isinstance(name, str))
    return [*names] if rows else None, lambda name: [row.get(name) for row in rows]


def _of_arrow(name: str, column: pa.Array | pa.ChunkedArray) -> pl.Series:
    try:
        return pl.from_arrow(columnar.plain(column))
    except (pa.ArrowException, pl.exceptions.PolarsError, ValueError) as error:
        raise UserError(f"column {name!r} of the Arrow table can't be read: {error}") from None


def _of_pandas(column: Any) -> pl.Series | list:
    try:
        return pl.from_arrow(pa.Array.from_pandas(column))
    except (pa.ArrowException, TypeError, ValueError):  # values of several types
        return column.tolist()
