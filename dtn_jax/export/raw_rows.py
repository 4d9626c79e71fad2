"""Raw rows in any of the forms that Python has for them, as a table of the types that training had.

A row that lacks a column has a null there; a column that no row has is missing, which is an error
unless the model can do without it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.data.cast import of_values, typed
from dtn_jax.data.raw import arrow_types
from dtn_jax.data.raw.types import Types
from dtn_jax.errors import UserError
from dtn_jax.export.encoded import Bad

FORMS = "a list of dicts, a table of polars, pandas or Arrow"


def table(rows: Any, types: Types, optional: Sequence[str]) -> tuple[pl.DataFrame, Bad]:
    """The wanted columns of raw rows in their types, and the rows that have other values.

    Args:
      rows: a list of dicts, a polars or pandas DataFrame, an Arrow table or record batch.
      types: {column that is wanted: its type}; other columns are not looked at.
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
        found = _of_pandas(rows, types, optional, bad)
    elif isinstance(rows, pa.Table | pa.RecordBatch):
        found = _of_arrow(rows, tuple(types), optional)
    elif isinstance(rows, pl.DataFrame):
        check_there(rows.columns, tuple(types), optional)
        found = {name: rows[name] for name in types if name in rows.columns}
    else:
        found = _of_dicts(rows, types, optional, bad)
    nothing = pl.Series([None] * count, dtype=pl.Null)
    every = [typed(found.get(n, nothing).alias(n), kind, bad) for n, kind in types.items()]
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
            found[name] = pl.from_arrow(arrow_types.plain(rows.column(name)))
        except (pa.ArrowException, pl.exceptions.PolarsError, ValueError) as error:
            raise UserError(f"column {name!r} of the Arrow table can't be read: {error}") from None
    return found


def _of_pandas(rows: Any, types: Types, optional: Sequence[str], bad: Bad) -> dict[str, pl.Series]:
    there = [name for name in rows.columns if isinstance(name, str)]
    found = {}
    for name in _once_each(there, tuple(types), optional):
        try:
            found[name] = pl.from_arrow(pa.Array.from_pandas(rows[name]))
        except (pa.ArrowException, TypeError, ValueError):  # values of several types
            found[name] = of_values(name, rows[name].tolist(), types[name], bad)
    return found


def _of_dicts(
    rows: Sequence, types: Types, optional: Sequence[str], bad: Bad
) -> dict[str, pl.Series]:
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise UserError(
                f"row {number + 1} is {type(row).__name__}, expected a dict of its columns"
            )
    there = {name: None for row in rows for name in row} if rows else types
    check_there([name for name in there if isinstance(name, str)], tuple(types), optional)
    values = {name: [row.get(name) for row in rows] for name in types}
    return {name: of_values(name, values[name], kind, bad) for name, kind in types.items()}
