"""An epoch that goes through train's days, read from disk: `data.order=day`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import jax
import numpy as np

from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.input.day_order import Days
from dtn_jax.input.reader import SplitReader, take
from dtn_jax.interface import Batch
from dtn_jax.parallel import processes


class DayReader:
    """The steps of one epoch after another, as `EpochReader` gives them, in the order of days.

    A window is read by the records that hold its rows. With several processes each reads the whole
    window, and keeps its part of every batch.

    Args:
      data: the set.
      split: which of its splits.
      days: of the split's rows.
      epochs: how many there will be, so that none is read ahead in vain; None: endless.
      grouped: whether batches have the rows' groups.
    """

    def __init__(
        self,
        data: Prepared,
        split: str,
        days: Days,
        epochs: int | None = None,
        grouped: bool = False,
    ):
        self.reader, self.days, self.epochs = SplitReader(data, split, grouped), days, epochs

    def steps(self, seed: int, epoch: int, start: int, batch_size: int) -> Iterator[Batch]:
        """The steps from here on, a window of them at a time: arrays `[steps, B, ...]`."""
        epochs = itertools.count(epoch) if self.epochs is None else range(epoch, self.epochs)
        begin = self.days.begin(batch_size).tolist()
        for later in epochs:
            first = start if later == epoch else 0
            for day, begins, ends in zip(self.days.known, begin, begin[1:]):
                if first < ends:
                    skip = max(first - begins, 0) * batch_size
                    yield from self._day(seed, later, day, skip, batch_size)

    def _day(self, seed: int, epoch: int, day: int, skip: int, batch_size: int) -> Iterator[Batch]:
        """A day's steps without its first `skip` rows, as many at a time as a window completes."""
        own, held = processes.own_part(batch_size), None
        left = len(self.days.rows(day)) - skip
        for numbers, order in self.days.windows(seed, epoch, day, skip):
            rows = take(self.reader.picked(numbers), order)
            left -= len(order)
            if held is not None:  # rows that made no whole step with those before them
                rows = jax.tree.map(lambda a, b: np.concatenate([a, b]), held, rows)
            count = len(rows.ids)
            steps = count // batch_size if left else -(-count // batch_size)
            places = np.arange(steps * batch_size).reshape(steps, batch_size)[:, own]
            held = take(rows, np.arange(steps * batch_size, count))  # not all of the window
            if steps:
                rows = take(rows, np.where(places < count, places, -1))
                yield rows
