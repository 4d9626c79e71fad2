"""A piece of a raw file, and what is read of it at a time."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import polars as pl

from dtn_jax.datasets.logs.raw.rejects import Reject
from dtn_jax.errors import UserError
from dtn_jax.shapes import Int

Types = dict[str, object]  # {column: its polars type}; beartype cannot name polars' DataType


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

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Unit:
        return cls(**json.loads(text))


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Some rows of a unit, in the file's order.

    Attributes:
      frame: the rows that could be read, the wanted columns in the wanted order.
      numbers: `[rows]`, the number in the file of each row of the frame.
      broken: the other rows between the chunk's first and last.
      misfits: of those, the rows that were read and hold a value that its column cannot: null
        there. None where there are none.
      misfit_numbers: `[rows of misfits]`, as `numbers`.
      kinds: of JSON lines, the kinds of each column's values (json_kinds.py).
    """

    frame: pl.DataFrame
    numbers: Int[np.ndarray, " rows"]
    broken: list[Reject]
    misfits: pl.DataFrame | None = None
    misfit_numbers: tuple[int, ...] = ()
    kinds: dict[str, set[str]] = dataclasses.field(default_factory=dict)
