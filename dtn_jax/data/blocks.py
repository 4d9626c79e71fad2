"""Blocks of rows, and how they lie in a prepared data set.

A record is a block of rows, not a row: one-row records decode a hundred times slower.
The prepared set fixes a number of lanes; record r belongs to lane r mod `lanes`. All blocks
are full but the last one of each lane, and those share what is left evenly, so that lanes never
differ by more than one row, and reading the records in order gives the rows in order.
"""

from __future__ import annotations

import dataclasses

import numpy as np

MOST_LANES, LANE_ROWS, BLOCK_ROWS = 512, 2048, 1024  # of a new set; rows of a lane at least
WINDOW_BYTES = 256 << 20  # of the rows of a new set that are shuffled together


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a split's rows lie in records.

    Attributes:
      lanes: parallel streams of blocks; a batch takes the same number of rows from each.
      block_rows: rows of a full block.
      window: full blocks of a lane whose rows are shuffled together.
    """

    lanes: int
    block_rows: int
    window: int = 16

    @property
    def window_rows(self) -> int:
        """Rows that each lane has in every window but the last."""
        return self.window * self.block_rows

    def blocks(self, rows: int) -> list[int]:
        """The number of rows of each record, in order."""
        full, rest = divmod(rows, self.lanes * self.block_rows)
        tail = [rest // self.lanes + (lane < rest % self.lanes) for lane in range(self.lanes)]
        return [self.block_rows] * (full * self.lanes) + [n for n in tail if n]

    def starts(self, rows: int) -> np.ndarray:
        """The row at which each record starts, in order, and at the end the number of rows."""
        return np.cumsum([0, *self.blocks(rows)])


def default_layout(rows: int, row_bytes: int = 200) -> Layout:
    """The layout of a new set with so many train rows: up to 512 lanes, two blocks a window.

    With 512 lanes, hundreds of processes read lanes of their own. A smaller set has fewer, a power
    of two, so that each has 2,048 rows or more: two blocks, which are shuffled together. 512 lanes
    shuffle a million rows at a time, 0.2 GB where a row has 200 bytes; one process holds some three
    times that to stream them. Rows of more than 256 bytes have shorter blocks, and at last fewer
    lanes, so that what is shuffled together stays below WINDOW_BYTES.
    """
    lanes, block_rows, window = MOST_LANES, BLOCK_ROWS, LANE_ROWS // BLOCK_ROWS
    while lanes > 1 and rows < lanes * LANE_ROWS:
        lanes //= 2
    while block_rows > 128 and lanes * block_rows * window * row_bytes > WINDOW_BYTES:
        block_rows //= 2
    while lanes > 64 and lanes * block_rows * window * row_bytes > WINDOW_BYTES:
        lanes //= 2
    return Layout(lanes, block_rows, window)
