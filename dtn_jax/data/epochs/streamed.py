"""A split that is read from disk in the epoch's order, a window ahead of the step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import jax
import numpy as np

from dtn_jax.data.epochs.batches import CHUNK_STEPS, prefetched
from dtn_jax.data.epochs.day_order import Days
from dtn_jax.data.epochs.epoch_order import (
    lanes_of,
    rows_per_lane,
    steps_per_epoch,
    window_count,
    window_order,
)
from dtn_jax.data.epochs.reader import SplitReader, part_of, take
from dtn_jax.data.prepared import Prepared
from dtn_jax.interface import Batch
from dtn_jax.parallel import processes

Window = tuple[Batch, np.ndarray, bool]
NO_ROWS = np.zeros(1, np.int64)  # where a process's lanes are empty: padding copies any row


def steps_of(windows: Iterator[Window], share: int, part: slice) -> Iterator[Batch]:
    """The steps of windows, as many at a time as a window completes: arrays `[steps, B, ...]`.

    Args:
      windows: the rows of each, the places of those of each lane, and whether it is the last one,
        whose last step is padded.
      share: rows that a step takes from each lane.
      own: which of its rows are kept.
    """
    held = None
    for rows, places, last in windows:
        if held is not None:  # rows that made no whole step with those before them
            rows = jax.tree.map(lambda a, b: np.concatenate([a, b]), held, rows)
            before = np.arange(len(held.ids)).reshape(len(places), -1)
            after = np.where(places < 0, -1, places + before.size)
            places = np.concatenate([before, after], axis=1)
        if last:
            padding = ((0, 0), (0, -places.shape[1] % share))
            places = np.pad(places, padding, constant_values=-1)
        steps = places.shape[1] // share
        now, later = places[:, : steps * share], places[:, steps * share :]
        now = now.reshape(len(places), steps, share).swapaxes(0, 1)
        now = now.reshape(steps, len(places) * share)[:, part]
        held = take(rows, later.ravel()) if later.size else None
        if steps:
            rows = take(rows, now)  # so that the window is gone before the next is read
            yield rows


class StreamedData:
    """A split that is read from disk as the steps need it, a window ahead of them.

    With several processes each has its part of every batch. Shuffled, it reads the lanes from which
    that part comes; processes that share a lane each read it, and each keeps its own rows. In the
    order of days, each of which ends a batch, a window is read by the records that hold its rows,
    and each process reads the whole window.

    Args:
      data: the set.
      split: which of its splits.
      epochs: how many there will be, so that none is read ahead in vain; None: endless.
      days: of its rows, where an epoch goes through them; else it is shuffled.
      grouped: whether batches have the rows' groups.
    """

    shared = False  # it reads ahead, in one order

    def __init__(
        self,
        data: Prepared,
        split: str,
        epochs: int | None = None,
        days: Days | None = None,
        grouped: bool = False,
    ):
        self.reader = SplitReader(data, split, grouped)
        self.layout, self.rows, self.epochs = data.layout, data.rows[split], epochs
        self.days = days
        self.at, self.windows = None, None
        self.window, self.used = None, 0  # steps at hand, and how many of them are used up

    def chunk(self, seed: int, epoch: int, start: int, steps: int, batch_size: int) -> Batch:
        """Steps `start` ... `start + steps` of the epoch, padded to CHUNK_STEPS."""
        if self.at != (seed, epoch, start, batch_size):  # the first chunk, or a jump
            self.close()
            self.windows = prefetched(self.steps(seed, epoch, start, batch_size))
            self.window, self.used = next(self.windows), 0
        pieces, wanted = [], steps
        while wanted:
            if self.used == len(self.window.ids):
                self.window, self.used = next(self.windows), 0
            pieces.append(part_of(self.window, self.used, self.used + wanted))
            got = len(pieces[-1].ids)
            wanted, self.used = wanted - got, self.used + got
        if steps < CHUNK_STEPS:  # never stepped on
            shape = (CHUNK_STEPS - steps,)
            pieces.append(
                jax.tree.map(lambda a: np.zeros(shape + a.shape[1:], a.dtype), self.window)
            )
        ends = start + steps == self.steps_per_epoch(batch_size)
        self.at = (seed, epoch + ends, 0 if ends else start + steps, batch_size)
        # Within a window a chunk is a view: nothing is ever written to a window.
        return jax.tree.map(lambda *a: np.concatenate(a), *pieces) if pieces[1:] else pieces[0]

    def close(self) -> None:
        """Ends the thread that reads ahead."""
        if self.windows is not None:
            self.windows.close()
        self.at, self.windows, self.window = None, None, None

    def steps_per_epoch(self, batch_size: int) -> int:
        if self.days is not None:
            return self.days.steps_per_epoch(batch_size)
        return steps_per_epoch(self.layout, self.rows, batch_size)

    def steps(self, seed: int, epoch: int, start: int, batch_size: int) -> Iterator[Batch]:
        """The steps from here on, a window of them at a time: arrays `[steps, B, ...]`."""
        epochs = itertools.count(epoch) if self.epochs is None else range(epoch, self.epochs)
        read = self._shuffled if self.days is None else self._by_day
        for later in epochs:
            yield from read(seed, later, start if later == epoch else 0, batch_size)

    def _shuffled(self, seed: int, epoch: int, start: int, batch_size: int) -> Iterator[Batch]:
        """The steps from `start` on, as many at a time as a window completes."""
        share, size = rows_per_lane(self.layout, batch_size), self.layout.window_rows
        count = window_count(self.layout, self.rows)
        lanes, part = lanes_of(self.layout, batch_size, processes.own_part(batch_size))
        first = min(start * share // size, count - 1)
        skip = start * share - first * size

        def windows() -> Iterator[Window]:
            for window in range(first, count):
                records, places = window_order(self.layout, self.rows, seed, epoch, window, lanes)
                places = places[:, skip if window == first else 0 :]
                records = records if len(records) else NO_ROWS
                yield self.reader.read(records), places, window == count - 1

        yield from steps_of(windows(), share, part)

    def _by_day(self, seed: int, epoch: int, start: int, batch_size: int) -> Iterator[Batch]:
        begin, part = self.days.begin(batch_size).tolist(), processes.own_part(batch_size)

        def windows(day: int, skip: int) -> Iterator[Window]:
            left = len(self.days.rows(day)) - skip
            for numbers, order in self.days.windows(seed, epoch, day, skip):
                left -= len(order)
                yield self.reader.picked(numbers), order[None], not left

        for day, begins, ends in zip(self.days.known, begin, begin[1:]):
            if start < ends:
                skip = max(start - begins, 0) * batch_size
                yield from steps_of(windows(day, skip), batch_size, part)
