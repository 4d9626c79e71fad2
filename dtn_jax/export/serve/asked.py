"""What a request asks for, once its body is read."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import polars as pl

Column = list | pl.Series  # values: of a few rows as they are, else in polars' memory
Type = object  # a polars type; beartype cannot name polars' DataType


@dataclasses.dataclass(frozen=True)
class Asked:
    """Rows to score.

    Attributes:
      rows: how many.
      columns: {name: its values} of the model's columns, in its order.
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


def table(asked: Sequence[Asked], types: Sequence[Type]) -> pl.DataFrame:
    """The rows of requests, one after another's; the types of their columns go with `types`."""
    columns = [
        _joined(name, [one.columns[name] for one in asked], type)
        for name, type in zip(asked[0].columns, types)
    ]
    return pl.DataFrame(columns)


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
