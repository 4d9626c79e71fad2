"""Blocks of rows, and how they lie in a prepared data set.

A TFDS record is a block of rows, not a row: one-row records decode a hundred times slower.
The prepared set fixes a number of lanes; record r belongs to lane r mod `lanes`. All blocks
are full but the last one of each lane, and those share what is left evenly, so that lanes never
differ by more than one row, and reading the records in order gives the rows in order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

MOST_LANES, LANE_ROWS = 512, 2048  # of a new set; rows of its lanes, at least
WINDOW_BYTES = 256 << 20  # of the rows of a new set that are shuffled together


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a split's rows lie in records.

    Attributes:
      lanes: parallel streams of blocks; a batch takes the same number of rows from each.
      block_rows: rows of a full block.
    """

    lanes: int
    block_rows: int

    def blocks(self, rows: int) -> list[int]:
        """The number of rows of each record, in order."""
        full, rest = divmod(rows, self.lanes * self.block_rows)
        tail = [rest // self.lanes + (lane < rest % self.lanes) for lane in range(self.lanes)]
        return [self.block_rows] * (full * self.lanes) + [n for n in tail if n]

    def starts(self, rows: int) -> np.ndarray:
        """The row at which each record starts, in order, and at the end the number of rows."""
        return np.cumsum([0, *self.blocks(rows)])


def default_layout(rows: int, row_bytes: int = 200) -> Layout:
    """The layout of a new set with so many train rows: up to 512 lanes, blocks of 128 rows.

    With 512 lanes, hundreds of processes read lanes of their own. A smaller set has fewer, a power
    of two, so that each has 2,048 rows or more: 16 blocks, which are shuffled together. 512 lanes
    shuffle a million rows at a time, 0.2 GB where a row has 200 bytes; one process holds some three
    times that to stream them. Longer blocks would be read faster, but need memory in proportion.
    Measured, million rows a second on one core, 196 bytes a row: 1.6 in blocks of 64 rows, 2.5 of
    128, 3.6 of 256, 4.6 of 512, 5.4 of 1024. Rows of more than 256 bytes have shorter blocks, and
    at last fewer lanes, so that what is shuffled together stays below WINDOW_BYTES.
    """
    lanes, block_rows = MOST_LANES, 128
    while lanes > 1 and rows < lanes * LANE_ROWS:
        lanes //= 2
    while block_rows > 16 and lanes * block_rows * 16 * row_bytes > WINDOW_BYTES:
        block_rows //= 2
    while lanes > 64 and lanes * block_rows * 16 * row_bytes > WINDOW_BYTES:
        lanes //= 2
    return Layout(lanes, block_rows)


def cut_blocks(chunks: Iterator[dict[str, np.ndarray]], layout: Layout) -> Iterator[dict]:
    """Re-cuts arrays of any lengths into the layout's blocks; holds one block a lane at a time."""
    size = layout.lanes * layout.block_rows
    held: list[dict[str, np.ndarray]] = []
    count = 0

    def flush(rows: int) -> Iterator[dict]:
        nonlocal held, count
        joined = {k: np.concatenate([h[k] for h in held]) for k in held[0]}
        start = 0
        for n in layout.blocks(rows):
            yield {k: v[start : start + n] for k, v in joined.items()}
            start += n
        held = [{k: v[rows:] for k, v in joined.items()}]
        count -= rows

    for chunk in chunks:
        held.append(chunk)
        count += len(chunk["ids"])
        if count >= size:
            yield from flush(count - count % size)
    if count:
        yield from flush(count)


def pad(values: np.ndarray, rows: int) -> np.ndarray:
    """Appends zeros up to `rows` rows."""
    if len(values) == rows:
        return values
    widths = [(0, rows - len(values))] + [(0, 0)] * (values.ndim - 1)
    return np.pad(values, widths)
