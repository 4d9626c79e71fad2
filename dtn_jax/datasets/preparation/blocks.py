"""Blocks of rows, and how they lie in a prepared data set.

A TFDS record is a *block* of rows, not a row: one-row records decode a hundred times slower.
The prepared set fixes a number of *lanes*; record r belongs to lane r mod `lanes`. All blocks
are full but the last one of each lane, and those share what is left evenly, so that lanes never
differ by more than one row, and reading the records in order gives the rows in order.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np


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


def default_layout(rows: int) -> Layout:
    """64 lanes for large sets; fewer, and shorter blocks, for small ones."""
    lanes = 64
    while lanes > 1 and rows < lanes * 2048:
        lanes //= 2
    return Layout(lanes, 1024 if rows >= 1_000_000 else 128)


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
    widths = [(0, rows - len(values))] + [(0, 0)] * (values.ndim - 1)
    return np.pad(values, widths)
