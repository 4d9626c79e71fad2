"""How well one column alone ranks a binary label: one that does it too well may be a leak.

Some rows give every value the log-odds of the label; others are ranked by the sum of those of their
values, as naive Bayes does. The odds are shrunk towards the label's rate by M rows (D.
Micci-Barreca, A preprocessing scheme for high-cardinality categorical attributes, SIGKDD
Explorations 3(1), 2001). A number is cut into buckets at the quantiles of the rows that are fitted;
of a vector, the entry that ranks those best is taken. So a choice among many values or entries
finds nothing in random labels.

A rare event that comes after the label ranks it badly: most positives have none. It is seen in
another way: its rows are `within` those of the label.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from dtn_jax.metrics.auc import auc
from dtn_jax.shapes import Bool, Float, Int

SUSPECT = 0.95  # an AUC above it is a suspect
M = 10  # rows at the label's rate that every value has beside its own
FEWEST = 20  # rows of each class that a figure needs: its standard error is then below 0.07
BUCKETS = 32  # of a number
OUTSIDE = 0.01  # share of an event's rows that may lie elsewhere, as `prepare` has it
CHANCE = 10.0  # rows that would be elsewhere, had they nothing to do with where they are

VALUE, KNOWN, COUNT = "its value", "whether it is known", "how many values"
TARGET = "whether it lists its target"  # as a history does that the row itself has slipped into


@dataclasses.dataclass(frozen=True)
class Alone:
    """What one column says of one label.

    Attributes:
      field: its name.
      label: the label's key.
      by: VALUE; KNOWN, whether it is; COUNT, of lists, how many values; or TARGET, of a sequence,
        whether its newest value is its target, or an earlier one is.
      auc: on the rows that are scored.
      entry: of a vector, the number that was taken; else None.
      only: whether the rarer of two values comes only where the label is 1; False where an AUC of
        the field says more.
    """

    field: str
    label: str
    by: str
    auc: float
    entry: int | None = None
    only: bool = False

    @property
    def suspect(self) -> bool:
        """Whether it ranks the label so well that it may hold it, or comes after it."""
        return self.auc > SUSPECT or self.only


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
    """Values by which a label is told: `by` and `entry` as of Alone, and the ids of all rows, in
    which -1 is padding."""

    by: str
    ids: Int[np.ndarray, "B S"]
    entry: int | None = None


def alone(field: str, columns: Iterable[Values], labels: Sequence[Label]) -> list[Alone]:
    """What a field's values say of each label: the best of those with one `by`; of several entries,
    the one that is best where it is fitted."""
    best: dict[tuple[str, str], tuple[float, Alone]] = {}
    for values in columns:
        known, codes = coded(values.ids)
        for label in labels:
            (fit, rows), ones, weights = label.rows, label.ones, label.weights
            weights = None if weights is None else weights[fit]
            odds = fitted(codes[fit], ones[fit], len(known), weights)
            area = auc(score(odds, codes[rows]), ones[rows])
            chosen = area if values.entry is None else auc(score(odds, codes[fit]), ones[fit])
            place = label.key, values.by
            if place not in best or chosen > best[place][0]:
                only = codes.shape[1] == 1 and len(known) == 2 and rarer_within(codes[:, 0], label)
                figure = Alone(field, label.key, values.by, area, values.entry, only)
                best[place] = chosen, figure
    figures = [figure for _, figure in best.values()]
    if any(figure.auc > SUSPECT for figure in figures):
        return [dataclasses.replace(figure, only=False) for figure in figures]
    return figures


def rarer_within(codes: Int[np.ndarray, " B"], label: Label) -> bool:
    """Whether the rarer of two values, 0 and 1, -1 where there is none, is `within` a label."""
    rows = np.concatenate(label.rows)
    first, second = (codes[rows] == code for code in (0, 1))
    return within(min(first, second, key=np.sum), label.ones[rows])


def within(inner: Bool[np.ndarray, " B"], outer: Bool[np.ndarray, " B"]) -> bool:
    """Whether the rows of `inner` are among those of `outer`, but for a share of OUTSIDE;
    by chance at least CHANCE of them, and ten times as many as do, would lie outside."""
    count, outside = inner.sum(), (inner & ~outer).sum()
    by_chance = count * (1 - outer.mean())
    return bool(outside <= OUTSIDE * count and max(CHANCE, 10 * outside) <= by_chance)


def coded(ids: Int[np.ndarray, "B S"]) -> tuple[Int[np.ndarray, " K"], Int[np.ndarray, "B S"]]:
    """The ids that occur, rising, and the place of each among them; -1 stays."""
    known, places = np.unique(ids, return_inverse=True)
    padded = int(len(known) > 0 and known[0] < 0)
    return known[padded:], places.reshape(ids.shape) - padded


def score(odds: Float[np.ndarray, " K1"], ids: Int[np.ndarray, "B S"]) -> Float[np.ndarray, " B"]:
    """The sum of the log-odds of each row's values, as `fitted` gives them."""
    there = ids >= 0
    return np.where(there.any(axis=1), np.where(there, odds[ids], 0.0).sum(axis=1), odds[-1])


def fitted(
    ids: Int[np.ndarray, "B S"],
    ones: Bool[np.ndarray, " B"],
    rows: int,
    weights: Float[np.ndarray, " B"] | None = None,
) -> Float[np.ndarray, " K1"]:
    """Fits the log-odds of a label, of which both classes are there, to the ids of its rows.

        log (p(id) / (1 - p(id))) - log (p / (1 - p)),  p(id) = (positives + M p) / (rows + M)

    Args:
      ids: -1 is padding.
      ones: where the label is 1.
      rows: ids are below this.
      weights: what a row counts; None is 1.

    Returns:
      What each id from 0 on adds, 0 where it does not occur; at the last place, having no value.
    """
    w = np.ones(len(ids)) if weights is None else weights.astype(np.float64)
    there = ids >= 0
    none = ~there.any(axis=1)  # no value says something too

    def counts(w: Float[np.ndarray, " B"]) -> Float[np.ndarray, " K1"]:
        each = np.broadcast_to(w[:, None], ids.shape)[there]
        return np.append(np.bincount(ids[there], each, minlength=rows), w[none].sum())

    positives, total, rate = counts(w * ones), counts(w), w[ones].sum() / w.sum()
    p = (positives + M * rate) / (total + M)
    odds = np.log(p / (1 - p)) - np.log(rate / (1 - rate))
    return np.where(total > 0, odds, 0.0)


def in_buckets(
    numbers: Float[np.ndarray, " B"],
    known: Bool[np.ndarray, " B"],
    buckets: int = BUCKETS,
    fit: int | None = None,
) -> Int[np.ndarray, "B 1"]:
    """The id of each number's bucket, 0 where it is not known; cut at quantiles of the first `fit`
    rows, so that buckets are about equally filled, and equal numbers stay together."""
    fitted = numbers[:fit][known[:fit]]
    edges = fitted[:0]
    if len(fitted):
        quantiles = np.quantile(fitted, np.arange(1, buckets) / buckets)
        edges = np.unique(quantiles.astype(numbers.dtype))
    ids = np.where(known, 1 + np.searchsorted(edges, numbers, side="right"), 0)
    return ids.astype(np.int32)[:, None]
