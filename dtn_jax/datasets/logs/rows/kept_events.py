"""Each user's newest events, which a prepared set keeps: in a set that extends it, histories go on.

`events` of a set holds, user by user in order of time, the rows that a history of the user would
list next: of each history as many events as it has values.
"""

from __future__ import annotations

import bisect
import pathlib

import numpy as np

from dtn_jax.datasets.logs.rows import by_user
from dtn_jax.datasets.logs.schema.spec import FieldSpec, Spec
from dtn_jax.datasets.logs.work_folder import Work
from dtn_jax.shapes import Bool, UInt64

FILE = "events"


def listing(spec: Spec, history: FieldSpec) -> tuple[FieldSpec, ...]:
    """The fields whose values are kept of each event: the history, and its companions."""
    return (history, *(field for field in spec.companions(history.name) if field.value))


def row_type(spec: Spec) -> np.dtype:
    """What is wanted of a row: of each history, whether it is an event, and its values' keys."""
    columns = [*by_user.ROW]
    for history in spec.histories():
        columns.append((f"event {history.name}", bool))
        columns += [(f"key {field.name}", np.uint64) for field in listing(spec, history)]
    return np.dtype(columns)


def load(work: Work) -> np.ndarray | None:
    """The events that the set which the work extends has kept, memory-mapped; none where it extends
    none. None: an earlier version prepared that set, and kept no events."""
    dtype = row_type(work.spec)
    if work.extends is None:
        return np.empty(0, dtype)
    path: pathlib.Path = work.extends / FILE
    if not path.exists():
        return None
    return np.memmap(path, dtype, "r") if path.stat().st_size else np.empty(0, dtype)


def of_users(events: np.ndarray, users: tuple[int, int]) -> np.ndarray:
    """The events of a range of users: from a key on, and below another."""
    first, below = users
    keys = events["user"]  # a search of NumPy's would copy them all
    start = bisect.bisect_left(keys, np.uint64(first))
    stop = bisect.bisect_left(keys, np.uint64(below)) if below < 1 << 64 else len(keys)
    return np.asarray(events[start:stop])


def newest(
    user: UInt64[np.ndarray, " B"], event: Bool[np.ndarray, " B"], last: int
) -> Bool[np.ndarray, " B"]:
    """Which rows are among the last events of their user, of rows sorted by user and time."""
    if not len(user):
        return np.zeros(0, bool)
    until = np.cumsum(event)
    ends = np.append(np.flatnonzero(user[1:] != user[:-1]), len(user) - 1)
    after = np.repeat(until[ends], np.diff(ends, prepend=-1)) - until
    return event & (after < last)
