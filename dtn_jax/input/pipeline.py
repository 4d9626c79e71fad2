"""Blocks to batches, in the epoch's order (`epoch_order.py`) or, for scoring, in that of the rows.

Two ways bring the batches of an epoch to the step, in the same order with the same content:
`ResidentData` keeps the whole split on the device and gathers rows there; `StreamedData` reads
blocks from disk, a window ahead of the step.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.datasets.preparation.prepared import Prepared, check_ids
from dtn_jax.input.epoch_order import (
    batch_rows,
    rows_per_lane,
    steps_per_epoch,
    window_count,
    window_order,
    window_rows,
)
from dtn_jax.input.prefetch import prefetched
from dtn_jax.interface import Batch
from dtn_jax.options import option
from dtn_jax.parallel import processes

PLACEMENTS = ("auto", "device", "stream")
CHUNK_STEPS = 16  # batches handed to the device at once


@dataclasses.dataclass(frozen=True)
class BatchOptions:
    """Section `data`: batches."""

    batch_size: int = option(1024, "examples a step, over all devices", least=1)
    eval_batch_size: int = option(
        4096, "examples a scoring step; changes no result", least=1, runtime=True
    )
    placement: str = option(
        "auto",
        "device: resident, for sets that fit; stream: read from disk",
        choices=PLACEMENTS,
        runtime=True,
    )
    device_bytes: int = option(
        4_000_000_000,
        "bytes; with auto, a set up to this size is placed on the device",
        least=0,
        runtime=True,
    )


class SplitReader:
    """Random access to a split's records; their ids are checked at every read."""

    def __init__(self, data: Prepared, split: str):
        self.schema, self.layout, self.rows = data.schema, data.layout, data.rows[split]
        self.records = data.source(split)
        self.starts = self.layout.starts(self.rows)

    def read(self, records: np.ndarray) -> Batch:
        """The rows of these records, joined; row_mask all True."""
        blocks = self.records.__getitems__(records.tolist())
        lengths = self.starts[records + 1] - self.starts[records]
        columns = {
            k: np.concatenate([np.asarray(b[k])[:n] for b, n in zip(blocks, lengths)])
            for k in blocks[0]
        }
        check_ids(columns["ids"], self.schema)
        n = len(columns["ids"])
        return Batch(
            ids=columns["ids"],
            weights=columns.get("weights", np.empty((n, 0), np.float32)),
            numeric=columns.get("numeric", np.empty((n, 0), np.float32)),
            labels=columns["labels"],
            label_mask=columns["label_mask"].astype(bool),
            sample_weight=columns.get("sample_weight", np.ones(n, np.float32)),
            row_mask=np.ones(n, bool),
        )

    def everything(self) -> Batch:
        """The whole split, in row order."""
        return self.read(np.arange(len(self.starts) - 1))

    def between(self, start: int, stop: int) -> Batch:
        """The rows start ... stop - 1, in order."""
        first, last = np.searchsorted(self.starts, [start, stop - 1], side="right") - 1
        begin = int(self.starts[first])
        return _part(self.read(np.arange(first, last + 1)), start - begin, stop - begin)


def take(rows: Batch, place) -> Batch:
    """Picks rows by position, numpy or jax; -1 gives a padding row: masked, its ids -1."""
    xp = jnp if isinstance(place, jax.Array) else np
    picked = jax.tree.map(lambda a: xp.take(a, place, axis=0, mode="clip"), rows)
    real = place >= 0
    if xp is np and real.all():
        return picked
    return dataclasses.replace(
        picked, ids=xp.where(real[..., None], picked.ids, -1), row_mask=picked.row_mask & real
    )


def _part(rows: Batch, start: int, stop: int | None = None) -> Batch:
    return jax.tree.map(lambda a: a[start:stop], rows)


def _padded(place: np.ndarray, length: int) -> np.ndarray:
    """Positions for `take`, filled up with padding rows."""
    return np.pad(place, (0, length - len(place)), constant_values=-1)


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

    def close(self) -> None:
        """Frees the device's memory."""
        self.batch = None


_take_on_device = jax.jit(lambda rows, place: take(rows, place))


class EpochReader:
    """The steps of one epoch after another, read from disk.

    With several processes each reads its own lanes, and has that part of each batch.

    Args:
      data: the set.
      split: which of its splits.
      epochs: how many there will be, so that none is read ahead in vain; None: endless.
    """

    def __init__(self, data: Prepared, split: str, epochs: int | None = None):
        self.reader = SplitReader(data, split)
        self.layout, self.rows, self.epochs = data.layout, data.rows[split], epochs
        self.lanes = range(self.layout.lanes)[processes.own_part(self.layout.lanes)]

    def steps(self, seed: int, epoch: int, start: int, batch_size: int) -> Iterator[Batch]:
        """The steps from here on, a window of them at a time: arrays `[steps, B, ...]`."""
        epochs = itertools.count(epoch) if self.epochs is None else range(epoch, self.epochs)
        for later in epochs:
            yield from self._epoch(seed, later, start if later == epoch else 0, batch_size)

    def _epoch(self, seed: int, epoch: int, start: int, batch_size: int) -> Iterator[Batch]:
        """The steps from `start` on, as many at a time as a window completes."""
        share, size = rows_per_lane(self.layout, batch_size), window_rows(self.layout)
        count = window_count(self.layout, self.rows)
        first = min(start * share // size, count - 1)
        skip, held = start * share - first * size, None
        for window in range(first, count):
            records, places = window_order(self.layout, self.rows, seed, epoch, window, self.lanes)
            rows, places = self.reader.read(records), places[:, skip:]
            if held is not None:  # rows that made no whole step with those before them
                rows = jax.tree.map(lambda a, b: np.concatenate([a, b]), held, rows)
                before = np.arange(len(held.ids)).reshape(len(self.lanes), -1)
                after = np.where(places < 0, -1, places + before.size)
                places = np.concatenate([before, after], axis=1)
            if window == count - 1:
                padding = ((0, 0), (0, -places.shape[1] % share))
                places = np.pad(places, padding, constant_values=-1)
            steps = places.shape[1] // share
            now, later = places[:, : steps * share], places[:, steps * share :]
            now = now.reshape(len(self.lanes), steps, share).swapaxes(0, 1)
            yield take(rows, now.reshape(steps, len(self.lanes) * share))
            skip, held = 0, take(rows, later.ravel()) if later.size else None


class StreamedData:
    """A split that is read from disk as the steps need it, a window ahead of them."""

    shared = False  # it reads ahead, in one order

    def __init__(self, data: Prepared, split: str, epochs: int | None = None):
        self.reader = EpochReader(data, split, epochs)
        self.layout, self.rows = data.layout, data.rows[split]
        self.at, self.windows = None, None
        self.window, self.used = None, 0  # steps at hand, and how many of them are used up

    def chunk(self, seed: int, epoch: int, start: int, steps: int, batch_size: int) -> Batch:
        """Steps `start` ... `start + steps` of the epoch, padded to CHUNK_STEPS."""
        if self.at != (seed, epoch, start, batch_size):  # the first chunk, or a jump
            self.close()
            self.windows = prefetched(self.reader.steps(seed, epoch, start, batch_size))
            self.window, self.used = next(self.windows), 0
        pieces, wanted = [], steps
        while wanted:
            if self.used == len(self.window.ids):
                self.window, self.used = next(self.windows), 0
            pieces.append(_part(self.window, self.used, self.used + wanted))
            got = len(pieces[-1].ids)
            wanted, self.used = wanted - got, self.used + got
        if steps < CHUNK_STEPS:  # never stepped on
            shape = (CHUNK_STEPS - steps,)
            pieces.append(
                jax.tree.map(lambda a: np.zeros(shape + a.shape[1:], a.dtype), self.window)
            )
        ends = start + steps == steps_per_epoch(self.layout, self.rows, batch_size)
        self.at = (seed, epoch + ends, 0 if ends else start + steps, batch_size)
        # Within a window a chunk is a view: nothing is ever written to a window.
        return jax.tree.map(lambda *a: np.concatenate(a), *pieces) if pieces[1:] else pieces[0]

    def close(self) -> None:
        """Ends the thread that reads ahead."""
        if self.windows is not None:
            self.windows.close()
        self.at, self.windows, self.window = None, None, None


def in_order(
    data: Prepared, split: str, batch_size: int, part: slice = slice(None)
) -> Iterator[Batch]:
    """The split's rows in their own order, for scoring: `part` of each batch.

    The last batch is padded.
    """
    reader = SplitReader(data, split)
    for start in range(0, reader.rows, batch_size):
        first, last, _ = part.indices(batch_size)
        stop = min(start + last, reader.rows)
        rows = reader.between(min(start + first, stop - 1), stop)
        real = max(stop - start - first, 0)
        full = real == last - first
        yield rows if full else take(rows, _padded(np.arange(real), last - first))
