"""Where a split by time is cut: counts of rows by time, and a share turned into a date."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from dtn_jax.datasets.logs import times
from dtn_jax.datasets.logs.rows import splits
from dtn_jax.datasets.logs.schema.spec import SplitSpec
from dtn_jax.errors import UserError

STEPS = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000, 1)  # a day to a microsecond
NAMES = ("midnight", "whole hours", "whole minutes", "whole seconds")  # of the first STEPS
FAR = 0.01  # from the share that was asked for
TENS = tuple(10**n for n in range(18, -1, -1))  # the steps of plain numbers
ENOUGH = 10  # different times: with fewer, cuts are made at a finer step
MOST = 100_000  # different times that are counted
Histogram = tuple[np.ndarray, np.ndarray]  # int64 `[N]`: times, ascending; rows at each


def histogram(found: Iterable[np.ndarray], unit: str) -> Histogram:
    """How many rows there are at each time, rounded down to a step that leaves MOST at most."""
    return joined(((part, np.ones(len(part), np.int64)) for part in found), unit)


def joined(parts: Iterable[Histogram], unit: str) -> Histogram:
    """One histogram of several."""
    total = np.empty(0, np.int64), np.empty(0, np.int64)
    for part in parts:
        both = (np.concatenate(columns) for columns in zip(total, part, strict=True))
        total = _coarse(_rounded(*both, step=1), unit)
    return total


def _coarse(counts: Histogram, unit: str) -> Histogram:
    """The same rows by the finest step that leaves at most MOST different times."""
    for step in reversed(TENS if unit == "number" else STEPS):
        if len(counts[0]) <= MOST:
            break
        counts = _rounded(*counts, step)
    return counts


def _rounded(times: np.ndarray, rows: np.ndarray, step: int) -> Histogram:
    order = np.argsort(times, kind="stable")
    down = times[order] // step * step
    begins = np.flatnonzero(np.append(True, down[1:] != down[:-1])) if len(down) else []
    return down[begins], np.add.reduceat(rows[order], begins) if len(down) else rows


def cut(split: SplitSpec, counts: Histogram, unit: str) -> dict[str, int]:
    """{validation, test: the first time of the split}, for shares or for times that are given.

    A share is cut at the coarsest step (days, hours, …) of which the log has ENOUGH.

    Raises:
      UserError: one is a share and the other a time, or validation is not before test.
    """
    given = {name: getattr(split, name) for name in ("validation", "test")}
    texts = [isinstance(value, str) for value in given.values()]
    if all(texts):
        found = {name: times.read(value, unit) for name, value in given.items()}
        if found["validation"] >= found["test"]:
            raise UserError(
                f"split: validation {given['validation']} is not before {given['test']}"
            )
        return found
    if any(texts):
        raise UserError(
            "split: validation {validation} and test {test}: expected two shares of the rows, or "
            "two times".format(**given)
        )
    if unit != "number":
        by_step = (_rounded(*counts, step) for step in STEPS)
        counts = next((made for made in by_step if len(made[0]) >= ENOUGH), counts)
    return splits.cut_by_share(split, *counts)


def far_off(split: SplitSpec, counts: Histogram, found: Mapping[str, int], unit: str) -> str:
    """A line where shares of the rows are not those that were asked for, with the reason; or ""."""
    asked = (split.validation, split.test)
    if any(isinstance(share, str) for share in asked):
        return ""
    times, rows = counts
    test = rows[times >= found["test"]].sum() / rows.sum()
    made = (rows[times >= found["validation"]].sum() / rows.sum() - test, test)
    if all(abs(own - share) <= FAR for own, share in zip(made, asked, strict=True)):
        return ""
    own, wanted = (" and ".join(f"{100 * share:.3g} %" for share in pair) for pair in (made, asked))
    why = "many rows have one time"
    if unit != "number":
        step = (
            name for name, step in zip(NAMES, STEPS) if not any(t % step for t in found.values())
        )
        why = f"the log is cut at {next(step, 'its times')}"
    return (
        f"validation and test are {own} of the rows, not {wanted}: {why}; times in place of shares "
        "cut it anywhere"
    )
