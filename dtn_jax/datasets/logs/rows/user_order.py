"""Splits each user's rows in order of time: the last ones are test, those before validation.

Every unit leaves the user, time and place of its rows, sorted by user, in files of RUN_ROWS at
most. Then the users are gone through a range at a time: of so many rows that memory holds them,
whatever the size of the log, since a user's key is as likely in one range as in another. Each unit
then has the splits of its rows, in order. Neither RUN_ROWS nor PART_ROWS changes a split.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Int8, Int64, UInt64

from dtn_jax.datasets.logs import keys, mapped
from dtn_jax.datasets.logs.rows.checker import Rows
from dtn_jax.datasets.logs.rows.splits import TEST, TRAIN, VALIDATION
from dtn_jax.datasets.logs.work_folder import Work, whole

RUN_ROWS = 2_000_000  # of a file that a unit leaves; 24 bytes each
PART_ROWS = 4_000_000  # of a range of users, roughly; one user's rows are never parted
ROW = np.dtype([("user", np.uint64), ("time", np.int64), ("row", np.int64)])


def collect(found: Iterable[Rows], folder: pathlib.Path) -> None:
    """Writes what decides the splits of a unit's rows: `00000.npy`, …, and `runs.json`.

    A file holds rows that follow one another, sorted by user, those of a user as in the log.
    `runs.json` lists how many rows each file has.
    """
    held, runs, first = [], [], 0
    for rows in found:
        own = np.empty(len(rows), ROW)
        own["user"], own["time"] = keys.keys(rows.group)[0], rows.time
        own["row"] = np.arange(first, first + len(rows))
        first += len(rows)
        held.append(own)
        if first - sum(runs) >= RUN_ROWS:
            runs.append(_save_run(held, folder, len(runs)))
    if first > sum(runs):
        runs.append(_save_run(held, folder, len(runs)))
    (folder / "runs.json").write_text(json.dumps(runs))


def _save_run(held: list[np.ndarray], folder: pathlib.Path, place: int) -> int:
    """Writes the rows and empties the list; returns how many there were."""
    run = np.concatenate(held)
    held.clear()
    mapped.save(folder / f"{place:05d}.npy", run[np.argsort(run["user"], kind="stable")])
    return len(run)


def decide(work: Work, folder: pathlib.Path) -> None:
    """Writes the splits of every unit's rows, int8, `folder/00012.npy`.

    One file is open at a time, and the rows of one range of users are in memory.
    """
    rows = [sum(_runs(work, unit)) for unit in range(len(work.units))]
    for unit, count in enumerate(rows):
        mapped.new(folder / f"{unit:05d}.npy", np.int8, count)
    parts = max(1, -(-sum(rows) // PART_ROWS))
    edges = np.array([(part << 64) // parts for part in range(parts)], np.uint64)
    runs = [(unit, run) for unit in range(len(rows)) for run in range(len(_runs(work, unit)))]
    spans = np.array([_spans(work, *run, edges) for run in runs], np.int64).reshape(-1, parts + 1)
    for part in range(parts):
        _decide(work, folder, runs, spans[:, part : part + 2])
    for unit in range(len(rows)):
        with (folder / f"{unit:05d}.npy").open("rb") as file:
            os.fsync(file.fileno())


def _decide(
    work: Work,
    folder: pathlib.Path,
    runs: list[tuple[int, int]],
    spans: Int64[np.ndarray, "runs 2"],
) -> None:
    """Decides the splits of a range of users: in each run, the rows from one place to another."""
    ends = np.cumsum(spans[:, 1] - spans[:, 0])
    found = np.empty(ends[-1] if len(ends) else 0, ROW)
    for (unit, run), (start, stop), end in _filled(runs, spans, ends):
        found[end - (stop - start) : end] = _run(work, unit, run)[start:stop]
    order = np.lexsort((found["time"], found["user"]))  # equal times stay in the order of the log
    split = np.empty(len(order), np.int8)
    wanted = work.spec.split
    split[order] = of_sorted(found["user"][order], wanted.validation, wanted.test)
    for (unit, _), (start, stop), end in _filled(runs, spans, ends):
        own = slice(end - (stop - start), end)
        made = np.load(folder / f"{unit:05d}.npy", mmap_mode="r+")
        made[found["row"][own]] = split[own]


def _filled(
    runs: list[tuple[int, int]], spans: np.ndarray, ends: np.ndarray
) -> Iterator[tuple[tuple[int, int], list[int], int]]:
    """The runs that have rows of a range of users."""
    for run, span, end in zip(runs, spans.tolist(), ends.tolist(), strict=True):
        if span[1] > span[0]:
            yield run, span, end


def _runs(work: Work, unit: int) -> list[int]:
    """How many rows each file of a unit has."""
    folder = work.of("order", unit)
    with whole(folder / "runs.json", folder):
        return json.loads((folder / "runs.json").read_text())


def _run(work: Work, unit: int, run: int) -> np.ndarray:
    """The rows of a file, which is open until they are given up."""
    folder = work.of("order", unit)
    path = folder / f"{run:05d}.npy"
    with whole(path, folder):
        return np.load(path, mmap_mode="r")


def _spans(work: Work, unit: int, run: int, edges: UInt64[np.ndarray, " parts"]) -> np.ndarray:
    """Where each range of users begins in a file, and where the last one ends."""
    users = _run(work, unit, run)["user"]
    return np.append(np.searchsorted(users, edges), len(users))


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
