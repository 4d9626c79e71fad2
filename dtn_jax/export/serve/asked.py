"""What a request asks for, once its body is read."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import polars as pl

Column = list | pl.Series  # values: of a few rows as they are, else in polars' memory
WIDE = 4096  # values of a user, in all rows, from which on it pays to encode them once
Type = object  # a polars type; beartype cannot name polars' DataType


@dataclasses.dataclass(frozen=True)
class Asked:
    """Rows to score.

    Attributes:
      rows: how many.
      columns: {name: its values} of the model's columns, in its order; one value for all rows where
        it is the user's, unless rows are few.
      types: of each column, as it is in this request; Null where there is no value.
      outputs: those that the answer has.
      ignored: names of fields that the model does not read.
      what: a row's name in messages: `row` or `candidate`.
      shared: the columns that the request has once, as its user's.
    """

    rows: int
    columns: dict[str, Column]
    types: tuple[Type, ...]
    outputs: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    what: str = "row"
    shared: frozenset[str] = frozenset()

    @property
    def once(self) -> pl.DataFrame:
        """The values that are there once for several rows, as a row."""
        found = (self.columns[name] for name in self.columns if name in self.shared)
        return pl.DataFrame([c for c in found if isinstance(c, pl.Series) and len(c) < self.rows])

    @property
    def wide(self) -> bool:
        """Whether those are many enough, with all rows, to be encoded once."""
        lists = (c.list.len().sum() if c.dtype == pl.List else 1 for c in self.once)
        return sum(lists) * self.rows >= WIDE


def table(asked: Sequence[Asked], types: Sequence[Type]) -> pl.DataFrame:
    """The rows of requests, one after another's; the types of their columns go with `types`."""
    columns = [
        _joined(name, [_every_row(one, name) for one in asked], type)
        for name, type in zip(asked[0].columns, types)
    ]
    return pl.DataFrame(columns)


def _every_row(one: Asked, name: str) -> Column:
    column = one.columns[name]
    return column if len(column) == one.rows else column.new_from_index(0, one.rows)


def _joined(name: str, parts: list[Column], type: Type) -> pl.Series:
    if all(isinstance(part, list) for part in parts):
        return pl.Series(name, list(itertools.chain.from_iterable(parts)), dtype=type)
    if len(parts) == 1:
        return parts[0]
    return pl.concat(
        [
            pl.Series(name, part, dtype=type) if isinstance(part, list) else part.cast(type)
            for part in parts
        ]
    )
