"""What is counted of a log's rows while they pass, as nested counts that `added` joins.

Counts by weight are sums of floats: they are added in the order of the rows. Their keys are texts,
as JSON has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dtn_jax.data import times
from dtn_jax.data.encode import Encoded
from dtn_jax.data.rows import TIME, Rows
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.schema import ALL
from dtn_jax.shapes import Bool, Int64

Counts = Mapping[str, Any]


def added(one: Any, other: Any) -> Any:
    """The sums of mappings and lists of numbers, key by key; a key may be in one of them alone."""
    if isinstance(one, Mapping):
        both = {**one, **other}
        return {k: added(one[k], other[k]) if k in one and k in other else both[k] for k in both}
    if isinstance(one, list):
        return [added(a, b) for a, b in zip(one, other, strict=True)]
    return one + other


# How often each task's label is positive on each day, in each of its spaces.


def days_of(rows: Rows) -> Int64[np.ndarray, " B"]:
    """The days since 1970-01-01 of the rows of a dated log, in UTC."""
    return rows.numbers(TIME) // times.DAY


def by_day(spec: Spec, dated: bool, rows: Rows) -> Counts:
    """`rows`, {day since 1970: rows}; `sums`, {task@space: {day: [rows whose label is known, sum of
    the labels]}}, where the log has `weight` by weight. A log without dates has the day 0 alone."""
    day = days_of(rows) if dated else np.zeros(len(rows), np.int64)
    days, place = np.unique(day, return_inverse=True)
    days = [str(number) for number in days.tolist()]
    names = [task.name for task in spec.tasks]
    labels, weight, sums = rows.labels(names), rows.weight(), {}
    for task in spec.tasks:
        label = labels[:, names.index(task.name)]
        for space in dict.fromkeys((task.space, *task.also_report)):
            known = ~np.isnan(label)
            if space != ALL:
                known &= labels[:, names.index(space)] == 1
            each = known * (1 if weight is None else weight)
            count = np.bincount(place, each, len(days))
            count = (count.astype(np.int64) if weight is None else count).tolist()
            total = np.bincount(place, np.where(known, label, 0) * each, len(days)).tolist()
            pairs = ([c, t] for c, t in zip(count, total))
            sums[f"{task.name}@{space}"] = dict(zip(days, pairs))
    return {"rows": dict(zip(days, np.bincount(place).tolist())), "sums": sums}


def far(column: str, rows: Mapping[str, int]) -> list[str]:
    """A line for the rows whose days are far from those of all others; none where none are.

    Far is ten times as long as the middle half of the rows takes, and at least a year, from it.

    Args:
      column: of the times.
      rows: {day: rows} of a dated log.
    """
    if not rows:
        return []
    days, counts = (np.array(part) for part in zip(*sorted((int(d), n) for d, n in rows.items())))
    mass = counts.cumsum() / counts.sum()
    low, high = days[np.searchsorted(mass, [0.25, 0.75])]
    apart = max(10 * (high - low), 365)
    away = (days < low - apart) | (days > high + apart)
    if not away.any():
        return []
    shown = [times.date(int(day)) for day in days[away][:3]]
    more = ", …" * int(away.sum() > 3)
    middle = " to ".join(times.date(int(day)) for day in (low, high))
    return [
        f"{counts[away].sum():,} rows have times far from the others' in {column!r} "
        f"({', '.join(shown)}{more}; half of all are of {middle}): is their unit another?"
    ]


def days_to_json(dated: bool, counts: Counts) -> dict:
    """What a set's notes keep of `by_day`: days as numbers, in their order."""
    sums = {
        key: sorted([int(day), *pair] for day, pair in days.items())
        for key, days in counts["sums"].items()
    }
    rows = sorted([int(day), count] for day, count in counts["rows"].items())
    return {"dated": dated, "rows": rows, "sums": sums}


# Positives on rows where another task is 0 (positives.py).


def outside(spec: Spec, rows: Rows) -> Counts:
    """{task: {other: [rows where the task is 1 and the other one's label is known, those of them
    where the other one is 0]}} of all pairs of binary tasks; a row counts by its weight."""
    names = [task.name for task in spec.tasks if task.kind == "binary"]
    if not names:
        return {}
    labels, weight = rows.labels(names), rows.weight()
    positive = (labels == 1).astype(np.float64)
    if weight is not None:
        positive *= weight[:, None]
    known, zero = ((positive.T @ those).tolist() for those in (~np.isnan(labels), labels == 0))
    return {
        one: {other: [known[i][j], zero[i][j]] for j, other in enumerate(names) if j != i}
        for i, one in enumerate(names)
    }


# What became of the values of a split while they were encoded.


def of_values(columns: Mapping[str, Encoded], mask: Bool[np.ndarray, " B"]) -> Counts:
    """Of the rows of a mask: `unknown`, {field: values that became the unknown id}; `seen`, its
    values kept; `cut`, those that found no slot."""
    counts: dict[str, dict[str, int]] = {"unknown": {}, "seen": {}, "cut": {}}
    for name, column in columns.items():
        ids = column.ids[mask]
        counts["unknown"][name] = unknown = int((ids == 0).sum())
        counts["seen"][name] = unknown + int((ids > 0).sum()) // column.each
        counts["cut"][name] = 0 if column.cut is None else int(column.cut[mask].sum())
    return counts
