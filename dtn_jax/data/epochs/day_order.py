"""The order of an epoch that goes through train's days, one after another: `data.order=day`.

Within a day rows are shuffled: the day's rows, in the order of the log, are cut into windows of
WINDOW_ROWS; windows are permuted by (seed, epoch, day), and a window's rows by (seed, epoch, day,
window). A batch takes the next rows, and each day's last batch is padded. So a day's batches are
a pure function of that day's rows: neither the set's lanes and blocks nor its other days play a
part, and a run over two days takes the steps of a run over the first and then one over the second.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from dtn_jax.data.epochs.epoch_order import rows_per_lane, steps_per_epoch
from dtn_jax.data.prepared import Prepared
from dtn_jax.errors import UserError
from dtn_jax.parallel import processes
from dtn_jax.shapes import Int

WINDOW_ROWS = 65_536  # of a day, that are shuffled together


@dataclasses.dataclass(frozen=True)
class DayRows:
    """The rows of one day, in the order of the log.

    Attributes:
      firsts: `[R]`, the row number at which each run of them starts.
      ends: `[R]`, how many of them there are up to the end of each run.
    """

    firsts: Int[np.ndarray, " R"]
    ends: Int[np.ndarray, " R"]

    def __len__(self) -> int:
        return int(self.ends[-1])

    def numbers(self, start: int, stop: int) -> Int[np.ndarray, " _"]:
        """The row numbers, ascending, of those from `start` to `stop - 1`."""
        stop = min(stop, len(self))
        first, last = np.searchsorted(self.ends, [start, stop - 1], side="right")
        ends = self.ends[first : last + 1]
        before = np.append(0, self.ends)[first : last + 1]
        each = np.minimum(ends, stop) - np.maximum(before, start)
        return np.repeat(self.firsts[first : last + 1] - before, each) + np.arange(start, stop)


@dataclasses.dataclass(frozen=True)
class Days:
    """The days of a split's rows, as runs of rows of one day: few, where time orders the log.

    Attributes:
      starts: `[runs + 1]`, the row at which each run starts, and at the end the number of rows.
      numbers: `[runs]`, each run's day, since 1970-01-01.
    """

    starts: Int[np.ndarray, " _"]
    numbers: Int[np.ndarray, " _"]

    @classmethod
    def of(cls, days: Int[np.ndarray, " B"]) -> Days:
        """The runs of rows whose days these are."""
        starts = np.flatnonzero(np.diff(days, prepend=days[:1] - 1))
        return cls(np.append(starts, len(days)), days[starts].astype(np.int64))

    @functools.cached_property
    def known(self) -> list[int]:
        """The different days, in their order."""
        return np.unique(self.numbers).tolist()

    @functools.cached_property
    def counts(self) -> Int[np.ndarray, " _"]:
        """How many rows each of these days has."""
        place = np.searchsorted(self.known, self.numbers)
        return np.bincount(place, np.diff(self.starts), len(self.known)).astype(np.int64)

    def rows(self, day: int) -> DayRows:
        """The rows of one of these days."""
        runs = np.flatnonzero(self.numbers == day)
        return DayRows(self.starts[runs], np.cumsum(self.starts[runs + 1] - self.starts[runs]))

    def steps(self, batch_size: int) -> Int[np.ndarray, " _"]:
        """How many steps an epoch has of each day."""
        return -(-self.counts // batch_size)

    def begin(self, batch_size: int) -> Int[np.ndarray, " _"]:
        """The step of the epoch at which each day begins, and at the end how many there are."""
        return np.append(0, np.cumsum(self.steps(batch_size)))

    def steps_per_epoch(self, batch_size: int) -> int:
        return int(self.steps(batch_size).sum())

    def windows(
        self, seed: int, epoch: int, day: int, skip: int = 0
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """A day's windows in the epoch's order: row numbers, ascending, and their order.

        Args:
          seed, epoch, day: of these it is a pure function, and of the day's rows.
          skip: rows of the order to leave out; only the windows that hold the others are made.
        """
        rows = self.rows(day)
        for window in _rng(seed, epoch, day).permutation(-(-len(rows) // WINDOW_ROWS)).tolist():
            first = window * WINDOW_ROWS
            size = min(len(rows) - first, WINDOW_ROWS)
            if skip < size:
                order = _rng(seed, epoch, day, 1 + window).permutation(size)
                yield rows.numbers(first, first + size), order[skip:]
            skip = max(skip - size, 0)

    def batch_rows(self, seed: int, epoch: int, batch_size: int) -> Iterator[np.ndarray]:
        """Yields, for each step of the epoch, the row numbers `[B]`; -1 is padding."""
        for day, steps in zip(self.known, self.steps(batch_size).tolist()):
            windows = self.windows(seed, epoch, day)
            order = np.concatenate([numbers[places] for numbers, places in windows])
            padding = (0, steps * batch_size - len(order))
            yield from np.pad(order, padding, constant_values=-1).reshape(steps, batch_size)


def read_days(data: Prepared, split: str) -> Days:
    """Reads the days of a split's rows, all of its records once; each process a part of them.

    Raises:
      UserError: the set has none.
    """
    if not data.schema.day:
        raise UserError(
            f"data.order=day: data set {data.schema.name!r} in {data.folder} has no days. Logs "
            "with a column of times (`time` in the schema file) have them, and kuairand"
        )
    return Days.of(processes.read_by_all(functools.partial(data.days, split), data.rows[split]))


def steps_of(data: Prepared, days: Days | None, batch_size: int, devices: int) -> int:
    """Steps of an epoch of train, shuffled or by its days.

    Raises:
      UserError: shuffled, a batch cannot take the same number of rows from every lane.
    """
    if days is not None:
        return days.steps_per_epoch(batch_size)
    rows_per_lane(data.layout, batch_size, devices)
    return steps_per_epoch(data.layout, data.rows["train"], batch_size)


def _rng(seed: int, epoch: int, day: int, *window: int) -> np.random.Generator:
    key = (seed, epoch, day % 2**32, *window)  # a day before 1970 is below 0
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
