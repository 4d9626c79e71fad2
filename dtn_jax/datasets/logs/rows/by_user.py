"""The rows of a log user by user, whatever the size of the log.

Every unit leaves what is wanted of its rows, sorted by user, in files of RUN_ROWS at most. Then the
users are gone through a range at a time: of so many rows that memory holds them, since a user's key
is as likely in one range as in another. Neither RUN_ROWS nor PART_ROWS changes what comes out.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np

from dtn_jax.datasets.logs import mapped
from dtn_jax.datasets.logs.work_folder import Work, whole
from dtn_jax.shapes import UInt64

# Of rows of 24 bytes; of longer ones so many as take the same memory.
RUN_ROWS = 2_000_000  # of a file that a unit leaves
PART_ROWS = 4_000_000  # of a range of users, roughly; one user's rows are never parted
ROW = (("user", np.uint64), ("time", np.int64), ("row", np.int64))  # `row`: its place in its unit


@dataclasses.dataclass(frozen=True)
class Range:
    """The rows of a range of users.

    Attributes:
      rows: structured `[R]`, with the names of ROW, in the order of the log.
      units: which of them are a unit's: (unit, slice of rows), ascending; a unit may stand twice.
      users: the first key of the range, and that of the next one.
    """

    rows: np.ndarray
    units: list[tuple[int, slice]]
    users: tuple[int, int]


def collect(found: Iterable[np.ndarray], folder: pathlib.Path) -> None:
    """Writes what is wanted of a unit's rows: `00000.npy`, …, and `runs.json`.

    A file holds rows that follow one another, sorted by user, those of a user as in the log.
    `runs.json` lists how many rows each file has.

    Args:
      found: structured arrays, with the names of ROW; `row` is set here.
      folder: to write to.
    """
    held, runs, first = [], [], 0
    for own in found:
        own["row"] = np.arange(first, first + len(own))
        first += len(own)
        held.append(own)
        if first - sum(runs) >= _as_many(RUN_ROWS, own.dtype):
            runs.append(_save_run(held, folder, len(runs)))
    if first > sum(runs):
        runs.append(_save_run(held, folder, len(runs)))
    (folder / "runs.json").write_text(json.dumps(runs))


def _as_many(rows: int, dtype: np.dtype) -> int:
    """How many rows take the memory of so many that have ROW alone."""
    return max(1, rows * np.dtype([*ROW]).itemsize // dtype.itemsize)


def _save_run(held: list[np.ndarray], folder: pathlib.Path, place: int) -> int:
    """Writes the rows and empties the list; returns how many there were."""
    run = np.concatenate(held)
    held.clear()
    mapped.save(folder / f"{place:05d}.npy", run[np.argsort(run["user"], kind="stable")])
    return len(run)


def rows_of_units(work: Work, stage: str) -> list[int]:
    """How many rows each unit has left."""
    return [sum(_runs(work, stage, unit)) for unit in range(len(work.units))]


def ranges(work: Work, stage: str, dtype: np.dtype, beside: int = 0) -> Iterator[Range]:
    """The rows that a stage has collected, a range of users at a time.

    One file is open at a time, and the rows of one range are in memory.

    Args:
      work, stage: whose rows.
      dtype: of the rows.
      beside: further rows of all users that the caller holds, those of one range at a time.
    """
    units = range(len(work.units))
    rows = sum(rows_of_units(work, stage)) + beside
    parts = max(1, -(-rows // _as_many(PART_ROWS, dtype)))
    every = [(part << 64) // parts for part in range(parts + 1)]
    edges = np.array(every[:-1], np.uint64)
    runs = [(unit, run) for unit in units for run in range(len(_runs(work, stage, unit)))]
    spans = [_spans(work, stage, *run, edges) for run in runs]
    spans = np.array(spans, np.int64).reshape(-1, parts + 1)
    for part in range(parts):
        found, own = _range(work, stage, dtype, runs, spans[:, part : part + 2].tolist())
        yield Range(found, own, (every[part], every[part + 1]))


def _range(
    work: Work, stage: str, dtype: np.dtype, runs: list[tuple[int, int]], spans: list[list[int]]
) -> tuple[np.ndarray, list[tuple[int, slice]]]:
    found = np.empty(sum(stop - start for start, stop in spans), dtype)
    units, first = [], 0
    for (unit, run), (start, stop) in zip(runs, spans, strict=True):
        if stop > start:
            own = slice(first, first + stop - start)
            found[own] = _run(work, stage, unit, run)[start:stop]
            units.append((unit, own))
            first = own.stop
    return found, units


def _runs(work: Work, stage: str, unit: int) -> list[int]:
    """How many rows each file of a unit has."""
    folder = work.of(stage, unit)
    with whole(folder / "runs.json", folder):
        return json.loads((folder / "runs.json").read_text())


def _run(work: Work, stage: str, unit: int, run: int) -> np.ndarray:
    """The rows of a file, which is open until they are given up."""
    folder = work.of(stage, unit)
    path = folder / f"{run:05d}.npy"
    with whole(path, folder):
        return np.load(path, mmap_mode="r")


def _spans(
    work: Work, stage: str, unit: int, run: int, edges: UInt64[np.ndarray, " parts"]
) -> np.ndarray:
    """Where each range of users begins in a file, and where the last one ends."""
    users = _run(work, stage, unit, run)["user"]
    return np.append(np.searchsorted(users, edges), len(users))
