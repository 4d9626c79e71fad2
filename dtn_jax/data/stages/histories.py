"""Histories from the log's own rows: what the same user did strictly before the row's time.

A row never lists itself, nor any row of the same time or a later one, whatever the order of the
log, so that no label that it is asked for can be read there. Bad rows are in no history. Rows that
negative down-sampling drops are: a model is served with whole histories.

`histories/` of the work folder holds, of each such field, all its events, user by user in order of
time, each with its time, the key of its value and those of its companions' (`viewed.events`); and
of each row, where its history begins there and how long it is (`viewed.listed`). `events` of a set
holds, user by user in order of time, the rows that a history of the user would list next: so in a
set that extends it, histories go on.
"""

from __future__ import annotations

import contextlib
import pathlib
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.data import keys
from dtn_jax.data.rows import BESIDE, EVENT, TIME, USER, VALUE, Rows, Values, keyed, of_keys, places
from dtn_jax.data.schemas.spec import FieldSpec, Spec
from dtn_jax.files import to_disk
from dtn_jax.shapes import Bool, Int64, UInt64

SECOND = 1_000_000  # microseconds
FOLDER, EVENTS = "histories", "events"
LISTED = np.dtype([("start", np.int64), ("count", np.int32)])
BEFORE = -1  # the place and the unit of an event of a set that is extended: before all rows
READ = 1 << 20  # rows that are read at a time, and one user's that are cut by that
# Of each history, LISTED of some rows, and the events that they list.
Lists = Mapping[str, tuple[np.ndarray, np.ndarray]]


def listing(spec: Spec, history: FieldSpec) -> tuple[FieldSpec, ...]:
    """The fields whose values are kept of each event: the history, and its companions."""
    return (history, *(field for field in spec.companions(history.name) if field.value))


def event_type(spec: Spec, history: FieldSpec) -> np.dtype:
    """What is kept of an event that rows list."""
    keyed = [(f"key {field.name}", np.uint64) for field in listing(spec, history)]
    return np.dtype([("time", np.int64), *keyed])


def kept_type(spec: Spec) -> np.dtype:
    """What a set keeps of a row: of each history, whether it is an event, and its values' keys."""
    kinds: list[tuple[str, type]] = [("user", np.uint64), ("time", np.int64), ("place", np.int64)]
    for history in spec.histories():
        kinds.append((f"event {history.name}", bool))
        kinds += [(f"key {field.name}", np.uint64) for field in listing(spec, history)]
    return np.dtype(kinds)


def events(spec: Spec, rows: Rows, unit: int, first: int) -> pa.Table:
    """What makes the histories of some rows of a unit, the first of which has this place there. An
    event without an item is none."""
    by_name = {field.name: field for field in spec.fields}
    user = rows.keys(USER)
    columns = {
        "user": user,
        "time": rows.numbers(TIME),
        "place": np.arange(first, first + len(rows)),
    }
    for history in spec.histories():
        for field in listing(spec, history):
            source = by_name[history.target] if field is history else field
            values = Values.of(rows.column(VALUE + source.name))
            columns[f"key {field.name}"] = values.row_keys(source.unknown)
        there = (columns[f"key {history.name}"] != keys.MISSING) & (user != keys.MISSING)
        columns[f"event {history.name}"] = rows.numbers(EVENT + history.name) & there
    return _table(spec, columns, unit)


def older_events(spec: Spec, older: pathlib.Path) -> pa.Table:
    """The events that a set has kept, before all rows."""
    kept = np.fromfile(older / EVENTS, kept_type(spec))
    kept["place"] = np.arange(len(kept))
    return _table(spec, kept, BEFORE)


def _table(spec: Spec, values: Any, unit: int) -> pa.Table:
    columns = {name: values[name] for name in kept_type(spec).names}
    return pa.table(columns | {"unit": np.full(len(values["user"]), unit, np.int32)})


def by_user(database: Any) -> Iterator[pl.DataFrame]:
    """The events of all rows, user by user in order of time; a user's are in one frame."""
    query = f'SELECT * FROM "{EVENTS}" ORDER BY "user", "time", unit, place'
    yield from together(database.sql(query).to_arrow_reader(READ))


def together(batches: Iterable[pa.RecordBatch]) -> Iterator[pl.DataFrame]:
    """Rows that are sorted by user, those of one user in one frame."""
    rest = None
    for batch in batches:
        frame = pl.from_arrow(batch)
        frame = frame if rest is None else pl.concat([rest, frame])
        values = frame["user"].to_numpy()
        last = int(np.searchsorted(values, values[-1]))
        if last:
            yield frame[:last]
        rest = frame[last:]
    if rest is not None and len(rest):
        yield rest


def build(
    spec: Spec,
    folder: pathlib.Path,
    frames: Iterable[pl.DataFrame],
    starts: Int64[np.ndarray, " units+1"],
) -> None:
    """Writes the events of all users, and which of them each row lists.

    Args:
      spec: the schema file.
      folder: where.
      frames: as `by_user` gives them; in a set that extends another, users come with the events
        that the other one has kept of them.
      starts: the place among all rows of each unit's first one, and at the end how many there are.
    """
    folder.mkdir(exist_ok=True)
    listed = {
        history.name: np.memmap(
            _path(folder, history, "listed"), LISTED, "w+", shape=int(starts[-1])
        )
        for history in spec.histories()
    }
    with contextlib.ExitStack() as opened:
        files = {
            history.name: opened.enter_context(_path(folder, history, "events").open("wb"))
            for history in spec.histories()
        }
        keeping = opened.enter_context((folder / EVENTS).open("wb"))
        for frame in frames:
            unit, place = frame["unit"].to_numpy(), frame["place"].to_numpy()
            here = unit >= 0
            place = starts[unit[here]] + place[here]
            for history in spec.histories():
                rows_listed, some = earlier(spec, history, frame)
                rows_listed["start"] += files[history.name].tell() // some.itemsize
                listed[history.name][place] = rows_listed[here]
                files[history.name].write(some.tobytes())
            keeping.write(kept(spec, frame))
    for array in listed.values():
        array.flush()
    for path in folder.iterdir():
        to_disk(path)


def read(spec: Spec, folder: pathlib.Path, rows: slice) -> Lists:
    """What some rows list, by their places among all."""
    return {
        history.name: (
            _mapped(_path(folder, history, "listed"), LISTED)[rows],
            _mapped(_path(folder, history, "events"), event_type(spec, history)),
        )
        for history in spec.histories()
    }


def kept(spec: Spec, frame: pl.DataFrame) -> bytes:
    """The rows, sorted by user and time, that a later row's history may list, as `events` has
    them."""
    newest, user = np.zeros(len(frame), bool), frame["user"].to_numpy()
    for history in spec.histories():
        event = frame[f"event {history.name}"].to_numpy()
        newest |= last_events(user, event, history.max_values)
    rows = frame.filter(newest).with_columns(place=pl.lit(BEFORE, pl.Int64))
    return _records(rows, kept_type(spec)).tobytes()


def _records(frame: pl.DataFrame, dtype: np.dtype) -> np.ndarray:
    records = np.empty(len(frame), dtype)
    for name in dtype.names:
        records[name] = frame[name].to_numpy()
    return records


def earlier(spec: Spec, history: FieldSpec, frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Which events each row lists, LISTED `[B]`, of rows that are sorted by user and time; and the
    events among them."""
    user, time, event = (
        frame[name].to_numpy() for name in ("user", "time", f"event {history.name}")
    )
    listed = spans(user, time, event, history.max_values)
    return listed, _records(frame.filter(event), event_type(spec, history))


def spans(
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
    listed = np.empty(len(user), LISTED)
    listed["start"] = np.maximum(first, end - last)
    listed["count"] = end - listed["start"]
    return listed


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


def with_lists(spec: Spec, dated: bool, rows: Rows, lists: Lists, part: slice) -> Rows:
    """The rows with their lists, oldest first: of keys, or of buckets of gaps.

    Args:
      spec: the schema file.
      dated: whether times are microseconds.
      rows: clean rows that follow one another.
      lists: of more rows.
      part: the place of the rows among those.
    """
    for history in spec.histories():
        listed, events = lists[history.name]
        start, count = (listed[part][name].astype(np.int64) for name in LISTED.names)
        offsets = np.append(0, np.cumsum(count))
        listed_events = events[places(start, count)]
        columns = {
            field.name: of_keys(np.ascontiguousarray(listed_events[f"key {field.name}"]))
            for field in listing(spec, history)
        }
        if gaps := [field.name for field in spec.companions(history.name) if field.gap]:
            passed = np.repeat(rows.numbers(TIME), count) - listed_events["time"]
            columns |= dict.fromkeys(gaps, *keyed([pa.array(gap(passed, dated))]))
        for name, column in columns.items():
            if rows.has(VALUE + name):  # of a companion, what stands beside each row
                rows = rows.replaced(BESIDE + name, rows.column(VALUE + name))
            rows = rows.replaced(VALUE + name, pa.LargeListArray.from_arrays(offsets, column))
    return rows


def gap(passed: Int64[np.ndarray, " E"], dated: bool) -> Int64[np.ndarray, " E"]:
    """floor(log2(1 + s)) of seconds s, which are whole.

    Args:
      passed: microseconds, or the units of a time column of numbers.
      dated: whether they are microseconds.
    """
    seconds = passed // SECOND if dated else passed
    return np.frexp((1 + seconds).astype(np.float64))[1].astype(np.int64) - 1


def _path(folder: pathlib.Path, history: FieldSpec, what: str) -> pathlib.Path:
    return folder / f"{urllib.parse.quote(history.name, safe='')}.{what}"


def _mapped(path: pathlib.Path, dtype: np.dtype) -> np.ndarray:
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype)
