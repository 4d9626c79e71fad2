"""A piece of a raw file, what is read of it at a time, and a row that cannot be used."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from dtn_jax.data.raw.types import Kinds
from dtn_jax.errors import UserError
from dtn_jax.shapes import Int

LONGEST = 80  # characters of a rejected value that are kept


@dataclasses.dataclass(frozen=True)
class Unit:
    """A piece of a raw file that one task reads.

    Attributes:
      file: its place in the list of files.
      start, stop: Parquet: row groups; Arrow: record batches; text: bytes. A gzip file is one unit:
        `start` counts unpacked bytes, and `stop` is -1, the end.
      first_row: the number of its first row, from 1; in a text file the number of its first line.
      rows: how many; in a text file its lines, blank and broken ones too. -1: unknown before it is
        read, in a gzip file.
    """

    file: int
    start: int
    stop: int
    first_row: int
    rows: int

    def check(self, address: str, rows: int) -> None:
        """Raises UserError where not all of its rows were read."""
        if self.rows not in (-1, rows):
            raise UserError(
                f"{address}: {rows} rows are read from row {self.first_row} on, where {self.rows} "
                "were counted: the file is damaged, or has changed meanwhile"
            )


@dataclasses.dataclass(frozen=True)
class Reject:
    """A row that is counted and shown, never silently dropped.

    Attributes:
      row: its number in its file: the line in a text file, otherwise counted from 1.
      reason: the same text for all rows of this kind, so that they can be counted by it.
      column: whose value is wrong; '' where it is the row.
      value: what was found; of more than LONGEST characters, the first ones and '…'.
    """

    row: int
    reason: str
    column: str = ""
    value: str = ""

    def __post_init__(self):
        if len(self.value) > LONGEST:
            object.__setattr__(self, "value", f"{self.value[: LONGEST - 1]}…")


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some rows of a unit, in the file's order.

    Attributes:
      frame: the rows that could be read, the wanted columns in the wanted order.
      numbers: `[rows]`, the number in the file of each row of the frame.
      broken: the rows that cannot be used; they are not in the frame, unless that was asked for.
      kinds: of JSON lines, the kinds of each column's values.
    """

    frame: pl.DataFrame
    numbers: Int[np.ndarray, " rows"]
    broken: list[Reject]
    kinds: dict[str, Kinds] = dataclasses.field(default_factory=dict)
