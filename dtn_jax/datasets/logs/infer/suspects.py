"""Columns that tell a label too well: the label in disguise, or known only after the fact.

A column is tried alone, in three ways: its numbers as they are; the label's mean of each value, or
of each of BUCKETS ranges of numbers, taken on one half of the sample and tried on the other; and
whether it is missing.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from dtn_jax.datasets.logs.infer.columns import Column
from dtn_jax.datasets.logs.infer.draft import TaskDraft
from dtn_jax.datasets.logs.infer.words import percent
from dtn_jax.metrics.auc import auc
from dtn_jax.shapes import Bool, Float64, Int

MOST = 0.95  # AUC of a column alone; above, it is suspect
LEAST = 20  # rows of each class in each half: the AUC's standard error is then below 0.07
UNIQUE = 0.9  # different values by rows: more say nothing of copies, or of a label by value
BUCKETS = 1000  # of numbers with more different values
EDGES = 50_000  # numbers by which the ranges are cut
GRACE = 60_000_000  # microseconds: nearer times are of the same moment
LATER = 0.5  # share of the rows in which a time is later than the event's


@dataclasses.dataclass(frozen=True)
class Target:
    """A label to be told.

    Attributes:
      name: of the task.
      known: the rows in which it is known.
      ones: of those, where it is 1; of a regression, where it is above its median.
      fitted: of those, the half on which means are taken.
    """

    name: str
    known: Int[np.ndarray, " K"]
    ones: Bool[np.ndarray, " K"]
    fitted: Bool[np.ndarray, " K"]

    @functools.cached_property
    def enough(self) -> bool:
        counts = [np.bincount(self.ones[half], minlength=2) for half in (self.fitted, ~self.fitted)]
        return min(int(count.min()) for count in counts) >= LEAST


def targets(tasks: Sequence[TaskDraft], rows: int) -> list[Target]:
    """The labels; the halves are the same for all of them."""
    half = np.random.default_rng(0).random(rows) < 0.5
    found = []
    for task in tasks:
        known = np.flatnonzero(~np.isnan(task.values))
        values = task.values[known]
        ones = values > 0 if task.binary or not len(values) else values > np.median(values)
        found.append(Target(task.name, known, ones, half[known]))
    return found


def suspicion(column: Column, targets: Sequence[Target]) -> str:
    """Why a column of single values is suspect; '' where it is not."""
    able = [target for target in targets if target.enough]
    found = max(((missing_auc(column.there, t), t) for t in able), default=(0.0, None), key=_first)
    if found[0] > MOST:
        return _of_missing(column.there, *found)
    best = max(found, alone(column, able), key=_first)
    if best[0] > MOST:
        return f"a label in disguise? Alone it has AUC {best[0]:.4f} on {best[1].name}"
    return ""


def alone(column: Column, able: Sequence[Target]) -> tuple[float, Target | None]:
    """The best AUC of a column's numbers as they are, or of its values or ranges; and on which."""
    best: tuple[float, Target | None] = 0.0, None
    codes = _by_value(column)
    ranks = _ranks(column) if column.is_number else None
    for target in able:
        if ranks is not None:
            best = max(best, (_as_it_is(ranks, target), target), key=_first)
        if codes is not None or ranks is not None:
            means = of_means((ranks if codes is None else codes) + 1, target)
            best = max(best, (means, target), key=_first)
    return best


def list_suspicion(lengths: Int[np.ndarray, " R"], targets: Sequence[Target]) -> str:
    """Why a list column is suspect, by the lengths of its lists; -1 is a missing list."""
    able = [target for target in targets if target.enough]
    found = max(((missing_auc(lengths > 0, t), t) for t in able), default=(0.0, None), key=_first)
    if found[0] > MOST:
        return _of_missing(lengths > 0, *found, what="empty or missing")
    best = max(((of_means(lengths + 1, t), t) for t in able), default=(0.0, None), key=_first)
    if best[0] > MOST:
        told = f"AUC {best[0]:.4f} on {best[1].name}"
        return f"a label in disguise? The lengths of its lists alone have {told}"
    return ""


def _first(pair: tuple[float, Target | None]) -> float:
    return pair[0]


def _of_missing(
    there: Bool[np.ndarray, " R"], found: float, target: Target, what: str = "missing"
) -> str:
    gone = ~there[target.known]
    ones, others = (percent(float(gone[rows].mean())) for rows in (target.ones, ~target.ones))
    return (
        f"known only after the fact? It is {what} in {ones} of the rows with {target.name}, and in "
        f"{others} of the others: AUC {found:.4f}"
    )


def missing_auc(there: Bool[np.ndarray, " R"], target: Target) -> float:
    """AUC of whether the column is there, in the better direction."""
    found = auc(there[target.known].astype(np.float32), target.ones)
    return max(found, 1 - found)


def _by_value(column: Column) -> Int[np.ndarray, " R"] | None:
    """A code for each value, -1 where missing; None of fractions, and of nearly unique values."""
    if column.distinct > UNIQUE * column.known:
        return None
    few = column.distinct <= BUCKETS
    return column.codes if few or not column.is_number or column.is_whole else None


def _ranks(column: Column) -> Int[np.ndarray, " R"]:
    """The rank of each number among the different ones, or among BUCKETS; -1 where missing."""
    if column.distinct <= BUCKETS:
        numbers = column.different.cast(pl.Float64).to_numpy()
        return np.append(np.searchsorted(np.unique(numbers), numbers), -1)[column.codes]
    numbers, there = column.numbers, column.there
    known = numbers[there]
    known = known[:: max(1, len(known) // EDGES)]
    edges = np.unique(np.quantile(known, np.arange(1, BUCKETS) / BUCKETS, method="lower"))
    return np.where(there, np.searchsorted(edges, numbers, "right"), -1)


def _as_it_is(ranks: Int[np.ndarray, " R"], target: Target) -> float:
    """AUC of numbers, in the better direction, in the rows that have them; 0.5 where few do."""
    mine = ranks[target.known]
    there = mine >= 0
    every = np.bincount(mine[there])
    won = np.bincount(mine[there & target.ones], minlength=len(every))
    if min(won.sum(), every.sum() - won.sum()) < LEAST:
        return 0.5
    found = auc_of_counts(np.arange(len(every), dtype=np.float64), won, every)
    return max(found, 1 - found)


def auc_of_counts(
    scores: Float64[np.ndarray, " V"], ones: Int[np.ndarray, " V"], rows: Int[np.ndarray, " V"]
) -> float:
    """AUC where so many of the rows with each score have the label 1."""
    there = rows > 0
    scores, ones, rows = scores[there], ones[there], rows[there]
    labels = np.repeat([True, False], len(scores))
    weights = np.concatenate([ones, rows - ones]).astype(np.float64)
    return auc(np.concatenate([scores, scores]), labels, weights)


def of_means(codes: Int[np.ndarray, " R"], target: Target) -> float:
    """AUC on one half of the label's mean of each code on the other half, codes from 0 on.

    A mean is drawn to that of all rows as by one more row, so that codes of a row or two, and
    those that were not seen, tell little.
    """
    mine, size = codes[target.known], int(codes.max(initial=0)) + 1
    fitted, tried = target.fitted, ~target.fitted
    prior = float(target.ones[fitted].mean())
    count = np.bincount(mine[fitted], minlength=size)
    ones = np.bincount(mine[fitted & target.ones], minlength=size)
    means = (ones + prior) / (count + 1)
    every = np.bincount(mine[tried], minlength=size)
    won = np.bincount(mine[tried & target.ones], minlength=size)
    return auc_of_counts(means, won, every)


def same(columns: Sequence[Column], numeric: bool) -> dict[str, tuple[str, bool]]:
    """{column: (an earlier one that tells the same, whether its values are the very same)}.

    Two columns of categories tell the same where each value of one goes with one value of the
    other, and not nearly every row has a value of its own; two of numbers where they put the rows
    into the same order.
    """
    first: dict[bytes, Column] = {}
    found = {}
    for column in columns:
        if column.distinct <= 1 or (not numeric and column.distinct > UNIQUE * column.known):
            continue
        codes = column.codes
        if numeric:
            codes = np.append(np.argsort(np.argsort(column.different.to_numpy())), -1)[codes]
        digest = hashlib.sha256(np.ascontiguousarray(codes).tobytes()).digest()
        other = first.setdefault(digest, column)
        if other is not column:
            found[column.name] = (other.name, column.texts.equals(other.texts))
    return found


def later(times: pl.Series, event: pl.Series) -> float:
    """The share of the rows with both times, in microseconds, in which the first is later.

    By more than GRACE; 0 where few rows have both.
    """
    both = times.is_not_null() & event.is_not_null()
    if both.sum() < LEAST:
        return 0.0
    return float((times.filter(both) > event.filter(both) + GRACE).mean())
