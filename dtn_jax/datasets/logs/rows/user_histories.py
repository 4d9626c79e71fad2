"""Histories from the log's own rows: what the same user did strictly before the row's time.

A row never lists itself, nor any row of the same time or a later one, whatever the order of the
log, so that no label that it is asked for can be read there. Bad rows are in no history. Rows that
negative down-sampling drops are: a model is served with whole histories.

`histories/` of the work folder holds, of the n-th such field, all its events, user by user in order
of time, as keys of values (`0.keys`); and of each unit's rows, where each one's history begins
there and how long it is (`00012.0.npy`).
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterable

import numpy as np
import polars as pl
import pyarrow as pa
from jaxtyping import Bool, Int64, UInt64

from dtn_jax.datasets.logs import keys, mapped
from dtn_jax.datasets.logs.rows import by_user
from dtn_jax.datasets.logs.rows.checker import Rows
from dtn_jax.datasets.logs.schema.spec import Spec
from dtn_jax.datasets.logs.work_folder import Work, whole

STAGE, FOLDER = "events", "histories"
LISTED = np.dtype([("start", np.int64), ("count", np.int32)])


def row_type(spec: Spec) -> np.dtype:
    """What is wanted of a row: of each history, whether it is an event, and its value's key."""
    events = [((f"event{n}", bool), (f"key{n}", np.uint64)) for n in range(len(spec.histories()))]
    return np.dtype([*by_user.ROW, *(column for pair in events for column in pair)])


def collect(spec: Spec, found: Iterable[Rows], folder: pathlib.Path) -> None:
    """Writes what makes the histories of a unit's rows. An event without a value is none."""
    by_name, dtype = {field.name: field for field in spec.fields}, row_type(spec)

    def of(rows: Rows) -> np.ndarray:
        own = np.empty(len(rows), dtype)
        own["user"], known = keys.keys(rows.user)
        own["time"] = rows.time
        for n, field in enumerate(spec.histories()):
            target = by_name[field.target]
            own[f"key{n}"], there = keys.known(rows.values[target.name], target.unknown)
            own[f"event{n}"] = rows.events[field.name] & there & known
        return own

    by_user.collect(map(of, found), folder)


def build(work: Work, folder: pathlib.Path) -> None:
    """Writes the events of all users, and which of them each row lists."""
    rows, histories = by_user.rows_of_units(work, STAGE), work.spec.histories()
    for n in range(len(histories)):
        for unit, count in enumerate(rows):
            mapped.new(_listed(folder, unit, n), LISTED, count)
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(_events(folder, n).open("wb")) for n in range(len(histories))]
        for part in by_user.ranges(work, STAGE, row_type(work.spec)):
            order = np.lexsort((part.rows["time"], part.rows["user"]))
            found = part.rows[order]
            for n, (field, file) in enumerate(zip(histories, files, strict=True)):
                listed = np.empty(len(order), LISTED)
                listed[order] = earlier(
                    found["user"], found["time"], found[f"event{n}"], field.max_values
                )
                listed["start"] += file.tell() // 8
                file.write(found[f"key{n}"][found[f"event{n}"]].tobytes())
                for unit, own in part.units:
                    made = np.load(_listed(folder, unit, n), mmap_mode="r+")
                    made[part.rows["row"][own]] = listed[own]
        for file in files:
            file.flush()
            os.fsync(file.fileno())
    for path in folder.glob("*.npy"):
        with path.open("rb") as file:
            os.fsync(file.fileno())


def earlier(
    user: UInt64[np.ndarray, " B"],
    time: Int64[np.ndarray, " B"],
    event: Bool[np.ndarray, " B"],
    last: int,
) -> np.ndarray:
    """Which events each row lists, LISTED `[B]`: those of its user before its time, the last ones.

    Args:
      user, time: of rows that are sorted by both.
      event: whether a row is one.
      last: how many events a history has at most.
    """
    if not len(user):
        return np.empty(0, LISTED)
    before = np.cumsum(event) - event
    other = np.append(True, user[1:] != user[:-1])
    moved = other | np.append(True, time[1:] != time[:-1])
    first = before[np.flatnonzero(other)[np.cumsum(other) - 1]]
    end = before[np.flatnonzero(moved)[np.cumsum(moved) - 1]]
    found = np.empty(len(user), LISTED)
    found["start"] = np.maximum(first, end - last)
    found["count"] = end - found["start"]
    return found


class Listed:
    """The histories of a unit's rows, in the order in which they are read."""

    def __init__(self, work: Work, index: int):
        folder, self.at = work.folder / FOLDER, 0
        self.names = [field.name for field in work.spec.histories()]
        with whole(folder, folder):
            self.listed = [
                np.load(_listed(folder, index, n), mmap_mode="r") for n in range(len(self.names))
            ]
            self.events = [_mapped(_events(folder, n)) for n in range(len(self.names))]

    def next(self, rows: int) -> dict[str, pl.Series]:
        """Those of the next rows: {field: lists of its target's keys, oldest first}."""
        start, self.at = self.at, self.at + rows
        return {
            name: _lists(listed[start : self.at], events)
            for name, listed, events in zip(self.names, self.listed, self.events, strict=True)
        }


def _lists(listed: np.ndarray, events: UInt64[np.ndarray, " E"]) -> pl.Series:
    count = listed["count"].astype(np.int64)
    offsets = np.append(0, np.cumsum(count))
    at = np.repeat(listed["start"] - offsets[:-1], count) + np.arange(offsets[-1])
    return pl.Series(pa.LargeListArray.from_arrays(offsets, pa.array(events[at], pa.uint64())))


def _listed(folder: pathlib.Path, unit: int, n: int) -> pathlib.Path:
    return folder / f"{unit:05d}.{n}.npy"


def _events(folder: pathlib.Path, n: int) -> pathlib.Path:
    return folder / f"{n}.keys"


def _mapped(path: pathlib.Path) -> np.ndarray:
    if not path.stat().st_size:
        return np.empty(0, np.uint64)
    return np.memmap(path, np.uint64, "r")
