"""Splits each user's rows in order of time: the last ones are test, those before validation.

Every unit leaves (user, time, row) of its rows, in groups by user, so that the users are gone
through a group at a time in bounded memory. Each unit then has the splits of its rows, in order.
"""

from __future__ import annotations

import contextlib
import math
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from dtn_jax.datasets.logs.fit import keys, mapped
from dtn_jax.datasets.logs.rows.checker import Rows
from dtn_jax.datasets.logs.rows.splits import TEST, TRAIN, VALIDATION
from dtn_jax.datasets.logs.work.folder import Work, whole
from dtn_jax.shared_files import replacing

PARTS = 64  # groups of users


def collect(found: Iterable[Rows], path: pathlib.Path) -> None:
    """Writes what decides the splits of a unit's rows."""
    users, times = [], []
    for rows in found:
        users.append(keys.keys(rows.group)[0])
        times.append(rows.time)
    user = np.concatenate([np.empty(0, np.uint64), *users])
    time = np.concatenate([np.empty(0, np.int64), *times])
    part = (user >> np.uint64(64 - PARTS.bit_length() + 1)).astype(np.int64)
    row = np.argsort(part, kind="stable")
    starts = np.searchsorted(part[row], np.arange(PARTS + 1))
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, user=user[row], time=time[row], row=row, starts=starts)


def decide(work: Work, folder: pathlib.Path) -> None:
    """Writes the splits of every unit's rows, int8, `folder/00012.npy`."""
    with contextlib.ExitStack() as opened:
        found = [_loaded(work.of("order", unit), opened) for unit in range(len(work.units))]
        _decide(work, found, folder)


def _decide(work: Work, found: list[Mapping[str, np.ndarray]], folder: pathlib.Path) -> None:
    units, splits = range(len(found)), []
    for unit in units:
        splits.append(mapped.new(folder / f"{unit:05d}.npy", np.int8, len(found[unit]["row"])))
    for part in range(PARTS):
        spans = [slice(*f["starts"][part : part + 2]) for f in found]
        user, time, row = (
            np.concatenate([f[name][span] for f, span in zip(found, spans, strict=True)])
            for name in ("user", "time", "row")
        )
        unit = np.repeat(units, [span.stop - span.start for span in spans])
        order = np.lexsort((row, unit, time, user))  # equal times in the order of the log
        split = np.empty(len(order), np.int8)
        split[order] = of_sorted(user[order], work.spec.split.validation, work.spec.split.test)
        for which in units:
            own = unit == which
            splits[which][row[own]] = split[own]
    for made in splits:
        made.flush()


def _loaded(path: pathlib.Path, opened: contextlib.ExitStack) -> Mapping[str, np.ndarray]:
    with whole(path):
        return opened.enter_context(np.load(opened.enter_context(path.open("rb"))))


def of_sorted(user: np.ndarray, validation: int | float, test: int | float) -> np.ndarray:
    """The splits of rows that are sorted by user and time, int8 `[B]`.

    A share below 1 is one of each user's rows, rounded down; a number from 1 on so many rows. A
    user's first row is always train, then test comes before validation.
    """
    if not len(user):
        return np.empty(0, np.int8)
    first = np.append(True, user[1:] != user[:-1])
    begins = np.flatnonzero(first)
    count = np.diff(np.append(begins, len(user)))
    tested = np.minimum(_wanted(test, count), count - 1)
    picked = np.minimum(_wanted(validation, count), count - 1 - tested)
    left = np.repeat(begins + count, count) - np.arange(len(user))  # 1 for a user's last row
    tested, picked = np.repeat(tested, count), np.repeat(picked, count)
    return np.select([left <= tested, left <= tested + picked], [TEST, VALIDATION], TRAIN).astype(
        np.int8
    )


def _wanted(share: int | float, count: np.ndarray) -> np.ndarray:
    if share >= 1:
        return np.full(len(count), math.floor(share))
    return np.floor(share * count + 1e-9).astype(np.int64)


class Assigned:
    """The splits of a unit's rows, in the order in which they are read."""

    def __init__(self, work: Work, index: int):
        path = work.folder / "ordered" / f"{index:05d}.npy"
        with whole(path, path.parent):
            self.splits, self.at = np.load(path, mmap_mode="r"), 0

    def next(self, rows: int) -> np.ndarray:
        """Those of the next rows."""
        found = np.asarray(self.splits[self.at : self.at + rows])
        self.at += rows
        return found
