"""Histories from the log's own rows: what the same user did strictly before the row's time.

A row never lists itself, nor any row of the same time or a later one, whatever the order of the
log, so that no label that it is asked for can be read there. Bad rows are in no history. Rows that
negative down-sampling drops are: a model is served with whole histories.

`histories/` of the work folder holds, of each such field, all its events, user by user in order of
time, as keys of values (`viewed.keys`), those of each companion (`action.keys`), and their times
(`viewed.times`); and of each row, where its history begins there and how long it is
(`viewed.listed`). `events` of a set holds, user by user in order of time, the rows that a history
of the user would list next: so in a set that extends it, histories go on.
"""

from __future__ import annotations

import contextlib
import pathlib
import urllib.parse
from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.data import keys
from dtn_jax.data.rows import BESIDE, EVENT, TIME, USER, VALUE, Rows, Values, keyed, of_keys
from dtn_jax.data.schemas.spec import FieldSpec, Spec
from dtn_jax.data.stages.split import by_user
from dtn_jax.data.stages.work import Work
from dtn_jax.shapes import Bool, Int64, UInt64
from dtn_jax.shared_files import to_disk

SECOND = 1_000_000  # microseconds
FOLDER, EVENTS = "histories", "events"
LISTED = np.dtype([("start", np.int64), ("count", np.int32)])
BEFORE = -1  # the place of an event of a set that is extended: it comes before all rows


def listing(spec: Spec, history: FieldSpec) -> tuple[FieldSpec, ...]:
    """The fields whose values are kept of each event: the history, and its companions."""
    return (history, *(field for field in spec.companions(history.name) if field.value))


def columns(spec: Spec) -> list[tuple[str, type]]:
    """What is wanted of a row: of each history, whether it is an event, and its values' keys."""
    found: list[tuple[str, type]] = [("user", np.uint64), ("time", np.int64), ("place", np.int64)]
    for history in spec.histories():
        found.append((f"event {history.name}", bool))
        found += [(f"key {field.name}", np.uint64) for field in listing(spec, history)]
    return found


def events(spec: Spec, rows: Rows, first: int) -> pa.Table:
    """What makes the histories of some rows, the first of which has this place among all rows. An
    event without an item is none."""
    by_name = {field.name: field for field in spec.fields}
    user = rows.keys(USER)
    found = {"user": user, "time": rows.numbers(TIME), "place": np.arange(first, first + len(rows))}
    for history in spec.histories():
        for field in listing(spec, history):
            source = by_name[history.target] if field is history else field
            values = Values.of(rows.column(VALUE + source.name))
            found[f"key {field.name}"] = values.row_keys(source.unknown)
        there = (found[f"key {history.name}"] != keys.MISSING) & (user != keys.MISSING)
        found[f"event {history.name}"] = rows.numbers(EVENT + history.name) & there
    return pa.table({name: found[name] for name, _ in columns(spec)})


def build(work: Work) -> dict:
    """Writes the events of all users, and which of them each row lists.

    In a set that extends another, users come with the events that the other one has kept of them.
    """
    spec, folder = work.spec, work.folder / FOLDER
    folder.mkdir(exist_ok=True)
    if work.extends is not None:
        work.add(EVENTS, older_events(spec, work.extends))
    listed = {
        history.name: np.memmap(
            listed_file(folder, history), LISTED, "w+", shape=int(work.starts[-1])
        )
        for history in spec.histories()
    }
    with contextlib.ExitStack() as opened:

        def new(path: pathlib.Path):
            return opened.enter_context(path.open("wb"))

        times = {history.name: new(times_file(folder, history)) for history in spec.histories()}
        files = {
            field.name: new(keys_file(folder, field))
            for history in spec.histories()
            for field in listing(spec, history)
        }
        keeping = new(folder / EVENTS)
        frames = work.bars.count(by_user(work.database, EVENTS), "histories", work.starts[-1])
        for frame in frames:
            _write(spec, frame, listed, times, files, keeping)
    for array in listed.values():
        array.flush()
    for path in folder.iterdir():
        to_disk(path)
    return {}


def older_events(spec: Spec, older: pathlib.Path) -> pa.Table:
    """The events that a set has kept, before all rows."""
    kept = np.fromfile(older / EVENTS, np.dtype(columns(spec)))
    kept["place"] = np.arange(-len(kept), 0)
    return pa.table({name: kept[name] for name in kept.dtype.names})


def _write(
    spec: Spec, frame: pl.DataFrame, listed: dict, times: dict, files: dict, keeping
) -> None:
    """Adds the events of some users, whose rows are in order of time."""
    user, time, place = (frame[name].to_numpy() for name in ("user", "time", "place"))
    rows = place >= 0
    for history in spec.histories():
        event, most = frame[f"event {history.name}"].to_numpy(), history.max_values
        found = earlier(user, time, event, most)
        found["start"] += times[history.name].tell() // 8
        if rows.any():
            listed[history.name][place[rows]] = found[rows]
        times[history.name].write(time[event].tobytes())
        for field in listing(spec, history):
            files[field.name].write(frame[f"key {field.name}"].to_numpy()[event].tobytes())
    keeping.write(as_kept(spec, frame.filter(newest(spec, frame))))


def newest(spec: Spec, frame: pl.DataFrame) -> Bool[np.ndarray, " B"]:
    """Which rows, sorted by user and time, a later row's history may list."""
    found, user = np.zeros(len(frame), bool), frame["user"].to_numpy()
    for history in spec.histories():
        event = frame[f"event {history.name}"].to_numpy()
        found |= last_events(user, event, history.max_values)
    return found


def as_kept(spec: Spec, frame: pl.DataFrame) -> bytes:
    """Rows as a set keeps its `events`."""
    kept = np.empty(len(frame), np.dtype(columns(spec)))
    for name in kept.dtype.names:
        kept[name] = frame[name].to_numpy()
    kept["place"] = BEFORE
    return kept.tobytes()


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


def last_events(
    user: UInt64[np.ndarray, " B"], event: Bool[np.ndarray, " B"], last: int
) -> Bool[np.ndarray, " B"]:
    """Which rows are among the last events of their user, of rows sorted by user and time."""
    if not len(user):
        return np.zeros(0, bool)
    until = np.cumsum(event)
    ends = np.append(np.flatnonzero(user[1:] != user[:-1]), len(user) - 1)
    after = np.repeat(until[ends], np.diff(ends, prepend=-1)) - until
    return event & (after < last)


class Histories:
    """The lists of a log's rows."""

    def __init__(self, spec: Spec, dated: bool, folder: pathlib.Path):
        folder = folder / FOLDER
        self.spec, self.dated = spec, dated
        self.times = {h.name: _mapped(times_file(folder, h), np.int64) for h in spec.histories()}
        self.keys = {
            field.name: _mapped(keys_file(folder, field), np.uint64)
            for history in spec.histories()
            for field in listing(spec, history)
        }
        self.listed = {h.name: _mapped(listed_file(folder, h), LISTED) for h in spec.histories()}

    def of(self, rows: Rows, first: int) -> Rows:
        """The rows with their lists, oldest first: of keys, or of buckets of gaps.

        Args:
          rows: clean rows that follow one another.
          first: the place of the first one among all rows.
        """
        lists = dict(self._lists(rows, slice(first, first + len(rows))))
        for name, column in lists.items():
            if rows.has(VALUE + name):  # of a companion, what stands beside each row
                rows = rows.replaced(BESIDE + name, rows.column(VALUE + name))
            rows = rows.replaced(VALUE + name, column)
        return rows

    def _lists(self, rows: Rows, part: slice) -> Iterator[tuple[str, pa.Array]]:
        for history in self.spec.histories():
            listed = self.listed[history.name][part]
            count = listed["count"].astype(np.int64)
            offsets = np.append(0, np.cumsum(count))
            at = np.repeat(listed["start"] - offsets[:-1], count) + np.arange(offsets[-1])
            for field in listing(self.spec, history):
                events = of_keys(self.keys[field.name][at])
                yield field.name, pa.LargeListArray.from_arrays(offsets, events)
            for field in self.spec.companions(history.name):
                if field.gap:
                    passed = np.repeat(rows.numbers(TIME), count) - self.times[history.name][at]
                    buckets = keyed(pa.array(gap(passed, self.dated)))
                    yield field.name, pa.LargeListArray.from_arrays(offsets, buckets)


def gap(passed: Int64[np.ndarray, " E"], dated: bool) -> Int64[np.ndarray, " E"]:
    """floor(log2(1 + s)) of seconds s, which are whole.

    Args:
      passed: microseconds, or the units of a time column of numbers.
      dated: whether they are microseconds.
    """
    seconds = passed // SECOND if dated else passed
    return np.frexp((1 + seconds).astype(np.float64))[1].astype(np.int64) - 1


def listed_file(folder: pathlib.Path, history: FieldSpec) -> pathlib.Path:
    return folder / f"{_name(history)}.listed"


def keys_file(folder: pathlib.Path, field: FieldSpec) -> pathlib.Path:
    return folder / f"{_name(field)}.keys"


def times_file(folder: pathlib.Path, history: FieldSpec) -> pathlib.Path:
    return folder / f"{_name(history)}.times"


def _mapped(path: pathlib.Path, dtype: type | np.dtype) -> np.ndarray:
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype)


def _name(field: FieldSpec) -> str:
    """A field's name as that of a file."""
    return urllib.parse.quote(field.name, safe="")
