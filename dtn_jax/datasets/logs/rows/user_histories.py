"""Histories from the log's own rows: what the same user did strictly before the row's time.

A row never lists itself, nor any row of the same time or a later one, whatever the order of the
log, so that no label that it is asked for can be read there. Bad rows are in no history. Rows that
negative down-sampling drops are: a model is served with whole histories.

`histories/` of the work folder holds, of each such field, all its events, user by user in order of
time, as keys of values (`viewed.keys`), those of each companion (`action.keys`), and their times
(`viewed.times`); and of each unit's rows, where each one's history begins there and how long it is
(`00012.viewed.npy`).
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterable

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.datasets.logs import keys, mapped
from dtn_jax.datasets.logs.rows import by_user, kept_events
from dtn_jax.datasets.logs.rows.checker import Rows
from dtn_jax.datasets.logs.rows.days import dated
from dtn_jax.datasets.logs.rows.kept_events import listing, row_type
from dtn_jax.datasets.logs.schema.spec import FieldSpec, Spec
from dtn_jax.datasets.logs.work_folder import Work, file_name, new_folder, whole
from dtn_jax.datasets.preparation import progress
from dtn_jax.shapes import Bool, Int64, UInt64

SECOND = 1_000_000  # microseconds
STAGE, FOLDER = "events", "histories"
LISTED = np.dtype([("start", np.int64), ("count", np.int32)])


def collect(spec: Spec, found: Iterable[Rows], folder: pathlib.Path) -> None:
    """Writes what makes the histories of a unit's rows. An event without an item is none."""
    by_name, dtype = {field.name: field for field in spec.fields}, row_type(spec)

    def of(rows: Rows) -> np.ndarray:
        own = np.empty(len(rows), dtype)
        own["user"], known = keys.keys(rows.user)
        own["time"] = rows.time
        for history in spec.histories():
            target, *beside = by_name[history.target], *listing(spec, history)[1:]
            made, there = keys.known(rows.values[target.name], target.unknown)
            own[f"key {history.name}"] = made
            own[f"event {history.name}"] = rows.events[history.name] & there & known
            for field in beside:
                made, there = keys.known(rows.beside[field.name], field.unknown)
                own[f"key {field.name}"] = np.where(there, made, keys.MISSING)
        return own

    by_user.collect(map(of, found), folder)


def build(work: Work, target: pathlib.Path) -> None:
    """Writes the events of all users, and which of them each row lists, to a new folder.

    In a set that extends another, users come with the events that the other one has kept of them.
    """
    older = kept_events.load(work)
    if older is None:
        names = ", ".join(field.name for field in work.spec.histories())
        progress.say(
            f"{names}: histories begin with these rows, because {work.extends} was prepared by a "
            "version that kept no events; prepare it again to have users' earlier events too"
        )
    with new_folder(target) as folder:
        _build(work, folder, np.empty(0, row_type(work.spec)) if older is None else older)


def _build(work: Work, folder: pathlib.Path, older: np.ndarray) -> None:
    units, histories = by_user.rows_of_units(work, STAGE), work.spec.histories()
    for history in histories:
        for unit, count in enumerate(units):
            mapped.new(_listed(folder, unit, history), LISTED, count)
    with contextlib.ExitStack() as opened:

        def new(path: pathlib.Path):
            return opened.enter_context(path.open("wb"))

        times = {history.name: new(_times(folder, history)) for history in histories}
        files = {
            field.name: new(_keys(folder, field))
            for history in histories
            for field in listing(work.spec, history)
        }
        keeping = new(folder / kept_events.FILE)
        for part in by_user.ranges(work, STAGE, row_type(work.spec), len(older)):
            before = kept_events.of_users(older, part.users)
            rows = np.concatenate([before, part.rows])
            order = np.lexsort((rows["time"], rows["user"]))  # at equal times, as in the log
            found, newest = rows[order], np.zeros(len(rows), bool)
            for history in histories:
                event, most = found[f"event {history.name}"], history.max_values
                listed = np.empty(len(order), LISTED)
                listed[order] = earlier(found["user"], found["time"], event, most)
                listed["start"] += times[history.name].tell() // 8
                times[history.name].write(found["time"][event].tobytes())
                for field in listing(work.spec, history):
                    files[field.name].write(found[f"key {field.name}"][event].tobytes())
                for unit, own in part.units:
                    made = np.load(_listed(folder, unit, history), mmap_mode="r+")
                    made[part.rows["row"][own]] = listed[len(before) :][own]
                newest |= kept_events.newest(found["user"], event, most)
            keeping.write(found[newest].tobytes())
    for path in folder.iterdir():
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
        self.spec, self.folder, self.at = work.spec, work.folder / FOLDER, 0
        self.dated = dated(work.spec, work.time_unit)
        with whole(self.folder, self.folder):
            histories = work.spec.histories()
            self.times = {h.name: _mapped(_times(self.folder, h), np.int64) for h in histories}
            self.keys = {
                field.name: _mapped(_keys(self.folder, field), np.uint64)
                for history in histories
                for field in listing(work.spec, history)
            }
            self.listed = {
                history.name: np.load(_listed(self.folder, index, history), mmap_mode="r")
                for history in histories
            }

    def next(self, rows: Rows) -> dict[str, pl.Series]:
        """Those of the next rows, oldest first: {field: lists of keys, or of buckets of gaps}."""
        start, self.at = self.at, self.at + len(rows)
        found = {}
        for history in self.spec.histories():
            listed = self.listed[history.name][start : self.at]
            count = listed["count"].astype(np.int64)
            offsets = np.append(0, np.cumsum(count))
            at = np.repeat(listed["start"] - offsets[:-1], count) + np.arange(offsets[-1])
            for field in listing(self.spec, history):
                found[field.name] = _lists(offsets, self.keys[field.name][at])
            for field in self.spec.companions(history.name):
                if field.gap:
                    then = self.times[history.name][at]
                    gaps = gap(np.repeat(rows.time, count) - then, self.dated)
                    found[field.name] = _lists(offsets, gaps)
        return found


def gap(passed: Int64[np.ndarray, " E"], dated: bool) -> Int64[np.ndarray, " E"]:
    """floor(log2(1 + s)) of seconds s, which are whole.

    Args:
      passed: microseconds, or the units of a time column of numbers.
      dated: whether they are microseconds.
    """
    seconds = passed // SECOND if dated else passed
    return np.frexp((1 + seconds).astype(np.float64))[1].astype(np.int64) - 1


def _lists(offsets: Int64[np.ndarray, " _"], values: np.ndarray) -> pl.Series:
    return pl.Series(pa.LargeListArray.from_arrays(offsets, pa.array(values)))


def _listed(folder: pathlib.Path, unit: int, history: FieldSpec) -> pathlib.Path:
    return folder / f"{unit:05d}.{file_name(history.name)}.npy"


def _keys(folder: pathlib.Path, field: FieldSpec) -> pathlib.Path:
    return folder / f"{file_name(field.name)}.keys"


def _times(folder: pathlib.Path, history: FieldSpec) -> pathlib.Path:
    return folder / f"{file_name(history.name)}.times"


def _mapped(path: pathlib.Path, dtype: type) -> np.ndarray:
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype)
