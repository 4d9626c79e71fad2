"""Where a split by time is cut: counts of rows by time, and a share turned into a date."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping

import numpy as np

from dtn_jax.datasets.logs import splits, times
from dtn_jax.datasets.logs.spec import SplitSpec

STEPS = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000, 1)  # a day to a microsecond
ENOUGH = 10  # different times: with fewer, cuts are made at a finer step
MOST = 100_000  # different times that are counted


def histogram(found: Iterable[np.ndarray], unit: str) -> dict[int, int]:
    """{time: rows}; times are rounded down to a step that leaves MOST of them at most."""
    counts: collections.Counter[int] = collections.Counter()
    for part in found:
        values, rows = np.unique(part, return_counts=True)
        counts.update(dict(zip(values.tolist(), rows.tolist(), strict=True)))
        if len(counts) > MOST:
            counts = coarser(counts, unit)
    return dict(counts)


def joined(parts: Iterable[Mapping[int, int]], unit: str) -> dict[int, int]:
    """The histogram of several."""
    counts: collections.Counter[int] = collections.Counter()
    for part in parts:
        counts.update(part)
        if len(counts) > MOST:
            counts = coarser(counts, unit)
    return dict(counts)


def coarser(counts: Mapping[int, int], unit: str) -> collections.Counter[int]:
    """The same rows by the finest step that leaves at most MOST different times."""
    if unit == "number":
        step = 1
        while len({time // step for time in counts}) > MOST:
            step *= 10
        return _rounded(counts, step)
    for step in reversed(STEPS):
        made = _rounded(counts, step)
        if len(made) <= MOST:
            return made
    return _rounded(counts, STEPS[0])


def _rounded(counts: Mapping[int, int], step: int) -> collections.Counter[int]:
    made: collections.Counter[int] = collections.Counter()
    for time, rows in counts.items():
        made[time // step * step] += rows
    return made


def cut(split: SplitSpec, counts: Mapping[int, int], unit: str) -> dict[str, int]:
    """{validation, test: the first time of the split}, for shares or for times that are given.

    A share is cut at the coarsest step (days, hours, …) of which the log has ENOUGH.
    """
    given = {
        name: times.read(value, unit)
        for name in ("validation", "test")
        if isinstance(value := getattr(split, name), str)
    }
    if len(given) == 2:
        return given
    rounded = counts
    if unit != "number":
        by_step = (_rounded(counts, step) for step in STEPS)
        rounded = next((made for made in by_step if len(made) >= ENOUGH), counts)
    return splits.cut_by_share(split, rounded)
