"""The order of an epoch: a pure function of (data set, seed, epoch).

An epoch is read lane by lane: each lane permutes its full blocks, and rows are shuffled within
windows of `Layout.window` of them. A batch takes the same number of rows from every lane, and the
last one is padded. Devices, processes and placement play no part, so a run goes on at
(epoch, step) wherever it was cut. A process has a part of every batch, and reads only the lanes
from which that part comes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from dtn_jax.data.blocks import Layout
from dtn_jax.errors import UserError


def window_count(layout: Layout, rows: int) -> int:
    """Windows of an epoch; all but the last hold `layout.window` full blocks of every lane."""
    full = rows // (layout.lanes * layout.block_rows)
    return max(1, -(-full // layout.window))


def window_order(
    layout: Layout, rows: int, seed: int, epoch: int, window: int, lanes: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """These lanes' part of a window: the records to read, and the order of their joined rows.

    The order is `[lanes, R]`, shuffled; -1 where a lane has one row less. The last window also
    takes the lanes' last, shorter blocks.
    """
    full, rest = divmod(rows, layout.lanes * layout.block_rows)
    last = window == window_count(layout, rows) - 1
    longest = min(full - window * layout.window, layout.window) * layout.block_rows
    longest += -(-rest // layout.lanes) if last else 0  # of all lanes: steps are counted by it
    records, places, joined = [], [], 0
    for lane in lanes:
        blocks = _rng(seed, epoch, lane).permutation(full)
        blocks = blocks[window * layout.window : (window + 1) * layout.window]
        records.append(blocks * layout.lanes + lane)
        count = len(blocks) * layout.block_rows
        tail = rest // layout.lanes + (lane < rest % layout.lanes)
        if tail and last:
            records.append([full * layout.lanes + lane])
            count += tail
        places.append(joined + _rng(seed, epoch, lane, window).permutation(count))
        joined += count
    places = [np.pad(n, (0, longest - len(n)), constant_values=-1) for n in places]
    return np.concatenate(records), np.stack(places)


def epoch_window(layout: Layout, rows: int, seed: int, epoch: int, window: int) -> np.ndarray:
    """Row numbers `[lanes, R]` of a window, shuffled; -1 where a lane has one row less."""
    every = range(layout.lanes)
    records, places = window_order(layout, rows, seed, epoch, window, every)
    starts = layout.starts(rows)
    numbers = np.concatenate([np.arange(starts[r], starts[r + 1]) for r in records])
    return np.where(places < 0, -1, numbers[places])


def batch_rows(
    layout: Layout, rows: int, seed: int, epoch: int, batch_size: int
) -> Iterator[np.ndarray]:
    """Yields, for each step of the epoch, the row numbers `[B]`; -1 is padding."""
    share = rows_per_lane(layout, batch_size)
    held = np.empty((layout.lanes, 0), np.int64)
    for index in range(window_count(layout, rows)):
        held = np.concatenate([held, epoch_window(layout, rows, seed, epoch, index)], axis=1)
        while held.shape[1] >= share:
            yield held[:, :share].ravel()
            held = held[:, share:]
    if held.shape[1]:
        padding = ((0, 0), (0, share - held.shape[1]))
        yield np.pad(held, padding, constant_values=-1).ravel()


def rows_per_lane(layout: Layout, batch_size: int, devices: int = 1) -> int:
    """How many rows of a batch come from each lane.

    Raises:
      UserError: that is no whole number. Names the nearest batch sizes that both lanes and devices
        divide.
    """
    if batch_size % layout.lanes:
        multiple = math.lcm(layout.lanes, devices)
        below = batch_size // multiple * multiple
        nearest = " and ".join(str(n) for n in (below, below + multiple) if n)
        raise UserError(
            f"data.batch_size={batch_size} is not divisible by the set's {layout.lanes} lanes; "
            f"the nearest{f' on {devices} devices' if devices > 1 else ''}: {nearest}"
        )
    return batch_size // layout.lanes


def lanes_of(layout: Layout, batch_size: int, part: slice) -> tuple[range, slice]:
    """The lanes from which a part of each batch comes, and the part's place among their rows.

    A batch has the rows of lane after lane. Where the part begins or ends within a lane's rows,
    the neighbouring part takes the others of that lane.

    Args:
      layout: gives the lanes.
      batch_size: rows of a whole batch.
      part: which of them.
    """
    share = rows_per_lane(layout, batch_size)
    start, stop, _ = part.indices(batch_size)
    lanes = range(start // share, -(-stop // share))
    return lanes, slice(start - lanes.start * share, stop - lanes.start * share)


def steps_per_epoch(layout: Layout, rows: int, batch_size: int) -> int:
    """Steps of an epoch: the longest lane's rows over the rows that a batch takes from a lane."""
    longest = -(-rows // layout.lanes)
    return -(-longest // rows_per_lane(layout, batch_size))


def _rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
