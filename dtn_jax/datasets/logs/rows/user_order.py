"""Splits each user's rows in order of time: the last ones are test, those before validation."""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Iterable

import numpy as np

from dtn_jax.datasets.logs import keys, mapped
from dtn_jax.datasets.logs.rows import by_user
from dtn_jax.datasets.logs.rows.checker import Rows
from dtn_jax.datasets.logs.rows.splits import TEST, TRAIN, VALIDATION
from dtn_jax.datasets.logs.work_folder import Work, whole
from dtn_jax.shapes import Int8, UInt64

STAGE = "order"
ROW = np.dtype([*by_user.ROW])


def collect(found: Iterable[Rows], folder: pathlib.Path) -> None:
    """Writes what decides the splits of a unit's rows."""

    def of(rows: Rows) -> np.ndarray:
        own = np.empty(len(rows), ROW)
        own["user"], own["time"] = keys.keys(rows.group)[0], rows.time
        return own

    by_user.collect(map(of, found), folder)


def decide(work: Work, folder: pathlib.Path) -> None:
    """Writes the splits of every unit's rows, int8, `folder/00012.npy`."""
    rows, wanted = by_user.rows_of_units(work, STAGE), work.spec.split
    paths = [folder / f"{unit:05d}.npy" for unit in range(len(rows))]
    for path, count in zip(paths, rows, strict=True):
        mapped.new(path, np.int8, count)
    for part in by_user.ranges(work, STAGE, ROW):
        found = part.rows
        order = np.lexsort((found["time"], found["user"]))  # equal times: in the order of the log
        split = np.empty(len(order), np.int8)
        split[order] = of_sorted(found["user"][order], wanted.validation, wanted.test)
        for unit, own in part.units:
            np.load(paths[unit], mmap_mode="r+")[found["row"][own]] = split[own]
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())


def of_sorted(
    user: UInt64[np.ndarray, " B"], validation: int | float, test: int | float
) -> Int8[np.ndarray, " B"]:
    """The splits of rows that are sorted by user and time.

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
