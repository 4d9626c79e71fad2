"""Blocks to batches. The order of an epoch is a pure function of (data set, seed, epoch).

An epoch is read lane by lane: each lane permutes its full blocks, and rows are shuffled within
windows of WINDOW_BLOCKS of them. A batch takes the same number of rows from every lane, and the
last one is padded with masked rows. Devices, processes and placement play no part, so a run goes
on at (epoch, step) wherever it was cut.

Two ways bring the batches to the step, in the same order with the same content: `ResidentData`
keeps the whole split on the device and gathers rows there; `StreamedData` reads blocks from disk,
a window ahead of the step.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import flax.struct
import grain
import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax import processes
from dtn_jax.datasets.builder import Layout
from dtn_jax.datasets.catalog import Prepared, check_ids
from dtn_jax.schema import UserError

WINDOW_BLOCKS = 16  # full blocks of a lane whose rows are shuffled together
CHUNK_STEPS = 16  # batches handed to the device at once


@flax.struct.dataclass
class Batch:
    """B examples; in a chunk every array has a leading axis of steps.

    Attributes:
      ids: int32 `[B, L]`, rows of each slot's table; -1 is padding, 0 the unknown id.
      numeric: float32 `[B, N]`, values of standardised numeric fields.
      labels: float32 `[B, T]`.
      label_mask: bool `[B, T]`, False where a label is missing.
      sample_weight: float32 `[B]`.
      row_mask: bool `[B]`, False for the rows that pad the last batch.
    """

    ids: Any
    numeric: Any
    labels: Any
    label_mask: Any
    sample_weight: Any
    row_mask: Any


def window_count(layout: Layout, rows: int) -> int:
    """Windows of an epoch; all but the last hold WINDOW_BLOCKS full blocks of every lane."""
    full = rows // (layout.lanes * layout.block_rows)
    return max(1, -(-full // WINDOW_BLOCKS))


def epoch_window(layout: Layout, rows: int, seed: int, epoch: int, window: int) -> np.ndarray:
    """Row numbers `[lanes, R]` of a window, shuffled; -1 where a lane has one row less.

    The last window also takes the lanes' last, shorter blocks.
    """
    full = rows // (layout.lanes * layout.block_rows)
    tails = layout.blocks(rows)[full * layout.lanes :]
    tail_ends = full * layout.lanes * layout.block_rows + np.cumsum([0, *tails])
    lanes = []
    for lane in range(layout.lanes):
        order = _rng(seed, epoch, lane).permutation(full)
        chosen = order[window * WINDOW_BLOCKS : (window + 1) * WINDOW_BLOCKS]
        first = (chosen * layout.lanes + lane) * layout.block_rows
        numbers = (first[:, None] + np.arange(layout.block_rows)).ravel()
        if window == window_count(layout, rows) - 1 and lane < len(tails):
            numbers = np.concatenate([numbers, np.arange(tail_ends[lane], tail_ends[lane + 1])])
        lanes.append(_rng(seed, epoch, lane, window).permutation(numbers))
    width = max(len(n) for n in lanes)
    return np.stack([np.pad(n, (0, width - len(n)), constant_values=-1) for n in lanes])


def batch_rows(layout: Layout, rows: int, seed: int, epoch: int, batch_size: int):
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


def rows_per_lane(layout: Layout, batch_size: int) -> int:
    """How many rows of a batch come from each lane; raises UserError unless it is whole."""
    if batch_size % layout.lanes:
        below = batch_size // layout.lanes * layout.lanes
        raise UserError(
            f"data.batch_size={batch_size} is not divisible by the set's {layout.lanes} lanes; "
            f"the nearest: {' and '.join(str(n) for n in (below, below + layout.lanes) if n)}"
        )
    return batch_size // layout.lanes


def steps_per_epoch(layout: Layout, rows: int, batch_size: int) -> int:
    """Steps of an epoch: the longest lane's rows over the rows that a batch takes from a lane."""
    longest = -(-rows // layout.lanes)
    return -(-longest // rows_per_lane(layout, batch_size))


def _rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


class SplitReader:
    """Random access to a split's rows by number, block by block."""

    def __init__(self, data: Prepared, split: str):
        self.schema, self.layout, self.rows = data.schema, data.layout, data.rows[split]
        self.records = data.source(split)
        blocks = self.layout.blocks(self.rows)
        self.starts = np.concatenate([[0], np.cumsum(blocks)]).astype(np.int64)

    def columns(self, records: np.ndarray) -> dict[str, np.ndarray]:
        """The rows of these records, joined, as arrays `[rows, ...]`."""
        blocks = self.records.__getitems__(records.tolist())
        lengths = np.diff(self.starts)[records]
        return {
            k: np.concatenate([np.asarray(b[k])[:n] for b, n in zip(blocks, lengths)])
            for k in blocks[0]
        }

    def everything(self) -> Batch:
        """The whole split as one Batch (row_mask all True), in row order."""
        return self._batch(self.columns(np.arange(len(self.starts) - 1)))

    def rows_at(self, numbers: np.ndarray) -> Batch:
        """The rows with these numbers, in this order; -1 gives a masked row."""
        numbers = np.asarray(numbers)
        known = np.maximum(numbers, 0)
        records, at = np.unique(
            np.searchsorted(self.starts, known, side="right") - 1, return_inverse=True
        )
        joined = np.concatenate([[0], np.cumsum(np.diff(self.starts)[records])])
        place = joined[at.reshape(known.shape)] + known - self.starts[records][at]
        return take(self._batch(self.columns(records)), np.where(numbers < 0, -1, place))

    def _batch(self, columns: dict[str, np.ndarray]) -> Batch:
        n = len(columns["ids"])
        everything = Batch(
            ids=columns["ids"],
            numeric=columns.get("numeric", np.empty((n, 0), np.float32)),
            labels=columns["labels"],
            label_mask=columns["label_mask"].astype(bool),
            sample_weight=columns.get("sample_weight", np.ones(n, np.float32)),
            row_mask=np.ones(n, bool),
        )
        check_ids(everything.ids, self.schema)
        return everything


def take(rows: Batch, place) -> Batch:
    """Picks rows by position, numpy or jax; -1 gives a padding row: masked, its ids -1."""
    xp = jnp if isinstance(place, jax.Array) else np
    real = place >= 0
    batch = jax.tree.map(lambda a: a[xp.maximum(place, 0)], rows)
    return dataclasses.replace(
        batch, ids=xp.where(real[..., None], batch.ids, -1), row_mask=batch.row_mask & real
    )


class ResidentData:
    """A split that lies on the device; chunks are gathered there."""

    shared = True  # several runs may take their chunks from one

    def __init__(
        self, data: Prepared, split: str, sharding: jax.sharding.Sharding, orders: int = 1
    ):
        self.layout, self.rows = data.layout, data.rows[split]
        self.batch = jax.device_put(SplitReader(data, split).everything(), sharding)
        self.order = functools.lru_cache(maxsize=orders)(self._order)

    def _order(self, seed: int, epoch: int, batch_size: int) -> np.ndarray:
        batches = batch_rows(self.layout, self.rows, seed, epoch, batch_size)
        return np.stack(list(batches)).astype(np.int32)

    def chunk(self, seed: int, epoch: int, start: int, steps: int, batch_size: int) -> Batch:
        """Steps `start` ... `start + steps` of the epoch, padded to CHUNK_STEPS."""
        order = self.order(seed, epoch, batch_size)[start : start + steps]
        order = np.pad(order, ((0, CHUNK_STEPS - len(order)), (0, 0)), constant_values=-1)
        return _take_on_device(self.batch, order)


_take_on_device = jax.jit(lambda rows, place: take(rows, place))


class StreamedData:
    """A split that is read from disk as the steps need it, windows ahead of them.

    With several processes each reads its own lanes, and has that part of each batch.
    """

    shared = False  # it reads ahead, in one order

    def __init__(self, data: Prepared, split: str):
        self.reader = SplitReader(data, split)
        self.layout, self.rows = data.layout, data.rows[split]
        self.at, self.batches = None, None

    def chunk(self, seed: int, epoch: int, start: int, steps: int, batch_size: int) -> Batch:
        """Steps `start` ... `start + steps` of the epoch, padded to CHUNK_STEPS."""
        if self.at != (seed, epoch, start, batch_size):  # a new epoch, or a resumed run
            self.batches = self._read(seed, epoch, start, batch_size)
        chunk = [next(self.batches) for _ in range(steps)]
        self.at = (seed, epoch, start + steps, batch_size)
        chunk += [chunk[-1]] * (CHUNK_STEPS - steps)  # never stepped on
        return jax.tree.map(lambda *a: np.stack(a), *chunk)

    def _read(self, seed: int, epoch: int, start: int, batch_size: int) -> Iterator[Batch]:
        """Windows decoded in the background by grain, cut into batches here."""
        share = rows_per_lane(self.layout, batch_size)
        count = window_count(self.layout, self.rows)
        window_rows = WINDOW_BLOCKS * self.layout.block_rows
        first = min(start * share // window_rows, count - 1)
        skip = start * share - first * window_rows
        own = processes.own_part(self.layout.lanes)
        decoded = grain.MapDataset.range(first, count).map(
            lambda w: self.reader.rows_at(epoch_window(self.layout, self.rows, seed, epoch, w)[own])
        )
        held = None
        for window in decoded.to_iter_dataset(grain.ReadOptions(1, prefetch_buffer_size=1)):
            window = _columns(window, skip, None)
            skip = 0
            if held is not None:
                window = jax.tree.map(lambda a, b: np.concatenate([a, b], axis=1), held, window)
            width = window.ids.shape[1]
            for at in range(0, width - share + 1, share):
                yield jax.tree.map(_flat, _columns(window, at, at + share))
            held = _columns(window, width - width % share, None)
        lanes, got = held.ids.shape[:2]
        if got:
            places = np.arange(lanes * got).reshape(lanes, got)
            places = np.pad(places, ((0, 0), (0, share - got)), constant_values=-1)
            yield take(jax.tree.map(_flat, held), places.ravel())


def _columns(rows: Batch, start: int, stop: int | None) -> Batch:
    """The same rows of every lane, of arrays `[lanes, R, ...]`."""
    return jax.tree.map(lambda a: a[:, start:stop], rows)


def _flat(a: np.ndarray) -> np.ndarray:
    return a.reshape(a.shape[0] * a.shape[1], *a.shape[2:])


def in_order(data: Prepared, split: str, batch_size: int, part: slice) -> Iterator[Batch]:
    """The split's rows in their own order, for scoring: `part` of each batch.

    The last batch is padded.
    """
    reader = SplitReader(data, split)
    for start in range(0, reader.rows, batch_size):
        numbers = np.arange(start, start + batch_size)[part]
        yield reader.rows_at(np.where(numbers < reader.rows, numbers, -1))
