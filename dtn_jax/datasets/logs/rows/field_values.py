"""The values of the fields in a chunk of rows, as training and scoring both read them.

Neither labels, times, groups nor splits are looked at here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import polars as pl

from dtn_jax.datasets.logs.formula import Expression
from dtn_jax.datasets.logs.rows import numbers
from dtn_jax.datasets.logs.rows.numbers import WRONG_TYPE
from dtn_jax.datasets.logs.schema.spec import FieldSpec
from dtn_jax.datasets.preparation.numbers import signed_log
from dtn_jax.field import SEVERAL
from dtn_jax.shapes import Bool

# (good bool `[B]`, reason, the column to show): a row that is not good is rejected for that reason.
Reject = Callable[[pl.Series | np.ndarray, str, pl.Series], None]


@dataclasses.dataclass
class FieldValues:
    """What fields hold in B rows.

    Attributes:
      values: of each field that is no cross, `[B]`: scalars, float64 for numeric fields, lists for
        bags and vectors.
      weights: of each weighted bag, the lists of its values' weights.
    """

    values: dict[str, pl.Series]
    weights: dict[str, pl.Series]

    def take(self, mask: Bool[np.ndarray, " B"]) -> FieldValues:
        """The rows of a mask."""
        if mask.all():
            return self
        kept = pl.Series(mask)
        return FieldValues(
            {name: column.filter(kept) for name, column in self.values.items()},
            {name: column.filter(kept) for name, column in self.weights.items()},
        )


def columns(fields: Iterable[FieldSpec]) -> tuple[str, ...]:
    """The raw columns that fields are read from, each once."""
    named = [name for f in fields for name in (*(f.value.columns if f.value else ()), f.weights)]
    return tuple(dict.fromkeys(name for name in named if name))


def singles(fields: Iterable[FieldSpec]) -> tuple[str, ...]:
    """The columns that fields read as single values, those inside of expressions aside."""
    read = [f.value for f in fields if not f.listed]
    return tuple(dict.fromkeys(e.column for e in read if e is not None and e.column))


def without_lists(frame: pl.DataFrame, single: Iterable[str], reject: Reject) -> pl.DataFrame:
    """The chunk, null where a column of single values has lists, whose rows are rejected.

    A chunk of JSON lines has such a column where the file's first lines lack it.
    """
    for name in single:
        if (column := frame[name]).dtype.is_nested():
            reject(column.is_null(), WRONG_TYPE, column)
            frame = frame.with_columns(pl.lit(None, pl.String).alias(name))
    return frame


def read(fields: Sequence[FieldSpec], frame: pl.DataFrame, reject: Reject) -> FieldValues:
    """The values of the fields in all rows; those of rejected rows mean nothing.

    Args:
      fields: of the schema file.
      frame: has the fields' columns, single values where fields read such.
      reject: is told of rows that are not as the schema file says.
    """
    values, weights = {}, {}
    for field in fields:
        if field.value is not None:
            values[field.name] = _field(field, frame, reject)
        if field.weights:
            weights[field.name] = _bag_weights(field, frame, values[field.name], reject)
    for field in fields:
        if field.beside and not field.history:
            _check_companion(field, values[field.name], values[field.beside], reject)
    return FieldValues(values, weights)


def number(
    expression: Expression,
    frame: pl.DataFrame,
    reject: Reject,
    needed: Bool[np.ndarray, " B"] | None = None,
) -> pl.Series:
    """The expression's values as float64, null where missing.

    Args:
      expression: of a number.
      frame: the chunk.
      reject: see `read`.
      needed: the rows in which it has to be one; None: in all.
    """
    values, bad = numbers.singles(expression, frame)
    for reason, rows in bad.items():
        rows = rows if needed is None else rows & needed
        reject(~rows, reason, shown(expression, frame))
    return values


def shown(expression: Expression, frame: pl.DataFrame) -> pl.Series:
    """What to show of a bad row: the column's value, or those of all columns that are read."""
    if len(expression.columns) == 1:
        return frame[expression.columns[0]]
    return frame.select(expression.columns).to_struct(expression.text)


def _field(field: FieldSpec, frame: pl.DataFrame, reject: Reject) -> pl.Series:
    if field.kind == "numeric":
        values = number(field.value, frame, reject)
        if field.log:
            values = pl.Series(values.name, signed_log(values.to_numpy()), nan_to_null=True)
        return values
    column, wrong = field.value.read(frame)
    if wrong.any():
        reject(~wrong, WRONG_TYPE, shown(field.value, frame))
    if not field.listed:
        return column
    if column.dtype != pl.List:
        reject(column.is_null(), WRONG_TYPE, column)
        inner = pl.Float64 if field.kind == "vector" else pl.String
        return pl.Series(column.name, [None] * len(column), dtype=pl.List(inner))
    if field.kind in SEVERAL:
        if field.longest:
            short = (column.list.len() <= field.longest).fill_null(True)
            reject(short, f"list of more than {field.longest} values", column)
        return column
    length = (column.list.len() == field.length).fill_null(True)
    reject(length, f"list of other than {field.length} numbers", column)
    return _lists(column, reject)


def _bag_weights(
    field: FieldSpec, frame: pl.DataFrame, bag: pl.Series, reject: Reject
) -> pl.Series:
    column = frame[field.weights]
    if column.dtype != pl.List:
        reject(column.is_null() & bag.is_null(), WRONG_TYPE, column)
        return pl.Series(column.name, [None] * len(column), dtype=pl.List(pl.Float64))
    lengths = bag.list.len().fill_null(0) == column.list.len().fill_null(0)
    reject(lengths, f"weights of another length than {bag.name!r}", column)
    return _lists(column, reject)


def _check_companion(
    field: FieldSpec, column: pl.Series, history: pl.Series, reject: Reject
) -> None:
    """Rejects rows whose lists differ in length; an optional companion may be missing."""
    lengths = column.list.len().fill_null(0) == history.list.len().fill_null(0)
    if field.optional:
        lengths |= column.is_null()
    reject(lengths, f"list of {column.name!r} of another length than {history.name!r}", column)


def _lists(column: pl.Series, reject: Reject) -> pl.Series:
    found, bad = numbers.lists(column)
    for reason, rows in bad.items():
        reject(~rows, reason, column)
    return found
