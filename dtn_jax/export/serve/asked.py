"""What a request asks for, once its body is read."""

from __future__ import annotations

import dataclasses

import polars as pl


@dataclasses.dataclass(frozen=True)
class Asked:
    """Rows to score.

    Attributes:
      frame: the model's columns, in its order, a row each.
      outputs: those that the answer has.
      ignored: names of fields that the model does not read.
      what: a row's name in messages: `row` or `candidate`.
      shared: the columns that the request has once, as its user's.
    """

    frame: pl.DataFrame
    outputs: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    what: str = "row"
    shared: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.frame)
