"""How well one column alone ranks a binary label: one that does it too well may be a leak.

Some rows give every value the log-odds of the label; others are ranked by the sum of those of their
values, as naive Bayes does. The odds are shrunk towards the label's rate by M rows (D.
Micci-Barreca, A preprocessing scheme for high-cardinality categorical attributes, SIGKDD
Explorations 3(1), 2001). A number is cut into buckets at the quantiles of the rows that are fitted;
of a vector, the entry that ranks those best is taken. So a choice among many values or entries
finds nothing in random labels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from dtn_jax.metrics.auc import auc
from dtn_jax.shapes import Bool, Float, Int, Shaped

SUSPECT = 0.95  # an AUC above it is a suspect
M = 10  # rows at the label's rate that every value has beside its own
FEWEST = 20  # rows of each class that a figure needs: its standard error is then below 0.07
SCORED = 200_000  # rows by which lists and vectors are told, and buckets are cut, at most
BUCKETS = 32  # of a number
DENSE = 8  # rows of a table for each value that is there, up to which all of them are counted

VALUE, KNOWN, COUNT = "its value", "whether it is known", "how many values"
TARGET = "whether it lists its target"  # as a history does that the row itself has slipped into


@dataclasses.dataclass(frozen=True)
class Alone:
    """What one column says of one label.

    Attributes:
      field: its name.
      key: of the label.
      by: VALUE; KNOWN, whether it is; COUNT, of lists, how many values; or TARGET, of a sequence,
        whether its newest value is its target, or an earlier one is.
      auc: on the rows that are scored.
      entry: of a vector, the number that was taken; else None.
    """

    field: str
    key: str
    by: str
    auc: float
    entry: int | None = None

    @property
    def suspect(self) -> bool:
        """Whether it ranks the label so well that it may hold it."""
        return self.auc > SUSPECT


@dataclasses.dataclass(frozen=True)
class Label:
    """A label to be told.

    Attributes:
      key: its name.
      rows: those that have it and are fitted, and those that have it and are scored.
      ones: where it is 1, of all rows.
      weights: of all rows, where these are fitted; None is 1.
    """

    key: str
    rows: tuple[Int[np.ndarray, " F"], Int[np.ndarray, " S"]]
    ones: Bool[np.ndarray, " B"]
    weights: Float[np.ndarray, " B"] | None = None

    @property
    def enough(self) -> bool:
        """Whether there are FEWEST rows of each class."""
        sides = (self.ones[rows] for rows in self.rows)
        return all(min(ones.sum(), (~ones).sum()) >= FEWEST for ones in sides)


@dataclasses.dataclass(frozen=True)
class Values:
    """Values by which a label is told.

    Attributes:
      by: as of Alone.
      size: ids are below this.
      ids: of all rows; -1 is padding.
      entry: as of Alone.
      numbers: whose order is tried as well; NaN is not known.
    """

    by: str
    size: int
    ids: Int[np.ndarray, "B S"]
    entry: int | None = None
    numbers: Float[np.ndarray, " B"] | None = None


def alone(field: str, columns: Iterable[Values], labels: Sequence[Label]) -> list[Alone]:
    """What a field's values say of each label: the best of those with one `by`; of several entries,
    the one that is best where it is fitted."""
    best: dict[tuple[str, str], tuple[float, Alone]] = {}
    for column in columns:
        known, (ids,) = coded([column.ids], column.size)
        for label in labels:
            (own, rows), ones, weights = label.rows, label.ones, label.weights
            weights = None if weights is None else weights[own]
            odds = fitted(ids[own], ones[own], len(known), weights)
            area = rank(odds, ids[rows], ones[rows])
            if column.numbers is not None:
                area = max(area, _in_order(column.numbers[rows], ones[rows]))
            chosen = area if column.entry is None else rank(odds, ids[own], ones[own])
            place = label.key, column.by
            if place not in best or chosen > best[place][0]:
                best[place] = chosen, Alone(field, label.key, column.by, area, column.entry)
    return [figure for _, figure in best.values()]


def _in_order(numbers: Float[np.ndarray, " B"], ones: Bool[np.ndarray, " B"]) -> float:
    """AUC of the numbers that are known, in the better direction; 0.5 where they are few."""
    there = ~np.isnan(numbers)
    numbers, ones = np.nan_to_num(numbers[there]), ones[there]  # infinite ones are the largest
    if min(ones.sum(), (~ones).sum()) < FEWEST:
        return 0.5
    area = auc(numbers, ones)
    return max(area, 1 - area)


def score(odds: Float[np.ndarray, " K"], ids: Int[np.ndarray, "B S"]) -> Float[np.ndarray, " B"]:
    """The sum of the log-odds of each row's values, as `fitted` gives them."""
    none = (ids < 0).all(axis=1)
    added = np.where(ids < 0, 0.0, odds[ids + 1]).sum(axis=1)
    return np.where(none, odds[0], added)


def rank(
    odds: Float[np.ndarray, " K"], ids: Int[np.ndarray, "B S"], ones: Bool[np.ndarray, " B"]
) -> float:
    """AUC of the rows' scores."""
    if ids.shape[1] > 1:
        return auc(score(odds, ids), ones)
    places = ids[:, 0] + 1  # counts are quicker than a sort of all scores
    counts = [np.bincount(places[own], minlength=len(odds)) for own in (ones, ~ones)]
    weights = np.concatenate(counts).astype(np.float64)
    return auc(np.tile(odds, 2), np.repeat([True, False], len(odds)), weights) or 0.0


def fitted(
    ids: Int[np.ndarray, "B S"],
    ones: Bool[np.ndarray, " B"],
    rows: int,
    weights: Float[np.ndarray, " B"] | None = None,
) -> Float[np.ndarray, " K"]:
    """Fits the log-odds of a label, of which both classes are there, to the ids of its rows.

        log (p(id) / (1 - p(id))) - log (p / (1 - p)),  p(id) = (positives + M p) / (rows + M)

    Args:
      ids: -1 is padding.
      ones: where the label is 1.
      rows: ids are below this.
      weights: what a row counts; None is 1.

    Returns:
      What each id from 0 on adds, 0 where it does not occur; at the first place, having no value.
    """
    w = np.ones(len(ids)) if weights is None else weights.astype(np.float64)
    none = (ids < 0).all(axis=1)  # no value says something too

    def counts(own: Bool[np.ndarray, " B"]) -> Float[np.ndarray, " K"]:
        each = None if weights is None else np.broadcast_to(w[own, None], ids[own].shape)
        return np.append(w[none & own].sum(), _count(ids[own], rows, each))

    positives, negatives = counts(ones), counts(~ones)
    rate, total = w[ones].sum() / w.sum(), positives + negatives
    p = (positives + M * rate) / (total + M)
    odds = np.log(p / (1 - p)) - np.log(rate / (1 - rate))
    return np.where(total > 0, odds, 0.0)


def _count(ids: np.ndarray, rows: int, weights: np.ndarray | None) -> Float[np.ndarray, " K"]:
    kept = ids >= 0
    each = None if weights is None else weights[kept].astype(np.float64)
    return np.bincount(ids[kept], each, minlength=rows).astype(np.float64)


def coded(
    arrays: Sequence[Int[np.ndarray, ...]], rows: int
) -> tuple[Int[np.ndarray, " K"], list[Int[np.ndarray, ...]]]:
    """The ids of a table, rising, and the place among them of each of the arrays'; -1 stays.

    Of a table of many more `rows` than there are values, the ids are those that occur.
    """
    if rows <= DENSE * sum(ids.size for ids in arrays):
        return np.arange(rows), list(arrays)
    known = np.unique(np.concatenate([ids[ids >= 0] for ids in arrays]))
    return known, [np.where(ids < 0, -1, np.searchsorted(known, ids)) for ids in arrays]


def counted(
    arrays: Sequence[Int[np.ndarray, ...]],
    rows: int,
    weights: Sequence[np.ndarray | None] = (),
) -> tuple[Int[np.ndarray, " K"], Float[np.ndarray, "A K"]]:
    """The ids that occur, rising, and how often in each array (or the sum of their weights);
    padding is not counted.

    Args:
      arrays: of any shapes, -1 is padding.
      rows: ids are below this.
      weights: of the arrays' shapes, or None.
    """
    known, places = coded(arrays, rows)
    pairs = zip(places, weights or [None] * len(places), strict=True)
    counts = np.stack([_count(ids, len(known), each) for ids, each in pairs])
    there = counts.any(axis=0)
    return known[there], counts[:, there]


def edges_of(values: Shaped[np.ndarray, " B"], buckets: int = BUCKETS) -> np.ndarray:
    """Where numbers are cut into buckets that are about equally filled; equal ones stay
    together."""
    if not len(values):
        return np.empty(0, values.dtype)
    some = values[:: max(-(-len(values) // SCORED), 1)]
    return np.unique(np.quantile(some, np.arange(1, buckets) / buckets).astype(values.dtype))


def in_buckets(
    numbers: Sequence[Float[np.ndarray, " _"]],
    known: Sequence[Bool[np.ndarray, " _"]],
    buckets: int = BUCKETS,
) -> tuple[int, list[Int[np.ndarray, "_ 1"]]]:
    """How many ids there are, and the id of each number's bucket, 0 where it is not known; cut at
    the first array's quantiles."""
    edges = edges_of(numbers[0][known[0]], buckets)
    ids = [
        np.where(there, 1 + np.searchsorted(edges, x, side="right"), 0).astype(np.int32)[:, None]
        for x, there in zip(numbers, known, strict=True)
    ]
    return len(edges) + 2, ids
