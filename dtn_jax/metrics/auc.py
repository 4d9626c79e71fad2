"""Areas under curves of a binary task, exact with ties: AUC and average precision."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dtn_jax.metrics.influence import Influence, Units
from dtn_jax.metrics.inputs import Column, Labels, Weights, chunks, cumulated
from dtn_jax.metrics.metric import RANKS, Metric, Rows
from dtn_jax.shapes import Bool, Float, Int


class Ranked(NamedTuple):
    """Rows of a class in the order of their scores.

    Attributes:
      scores: `[N]`, rising.
      weights: `[N]`; None where each counts 1.
      below: `[N + 1]`, the weight of the i lowest; None without weights, where that is i.
    """

    scores: Float[np.ndarray, " N"]
    weights: Float[np.ndarray, " N"] | None
    below: Float[np.ndarray, " N1"] | None

    @property
    def total(self) -> float | int:
        """The weight of all rows."""
        return self.scores.size if self.below is None else float(self.below[-1])

    def weight_below(
        self, values: Float[np.ndarray, " M"], side: str
    ) -> Int[np.ndarray, " M"] | Float[np.ndarray, " M"]:
        """The weight of the rows below each value; with the side `right`, of those not above it."""
        places = np.searchsorted(self.scores, values, side)
        return places if self.below is None else self.below[places]

    def share_below(self, values: Float[np.ndarray, " M"]) -> Float[np.ndarray, " M"]:
        """The share of the weight below each value, ties half."""
        low, high = (self.weight_below(values, side) for side in ("left", "right"))
        return (low + high) / (2.0 * self.total)


def ranked(scores: Column, chosen: Bool[np.ndarray, " B"], weights: Weights) -> Ranked:
    """The chosen rows."""
    of_class = scores[chosen]
    if weights is None:
        of_class.sort()
        return Ranked(of_class, None, None)
    order = np.argsort(of_class)
    weights = weights[chosen][order]
    return Ranked(of_class[order], weights, cumulated(weights))


def classes(rows: Rows) -> tuple[Ranked, Ranked]:
    """The positives and the negatives of a binary task."""
    positives, negatives = (
        ranked(rows.scores, c, rows.weights) for c in (rows.labels, ~rows.labels)
    )
    return positives, negatives


def auc(scores: Column, labels: Labels, weights: Weights = None) -> float | None:
    """Area under the ROC curve, exact with ties: P(positive > negative) + P(equal) / 2.

    Sorts both classes and looks every positive up (Mann-Whitney): O(B log B), 0.5 s for ten
    million rows. Without weights the pairs are counted in integers. -0.0 ties with 0.0.

    Args:
      scores: `[B]`, float32 or float64, any increasing function of the prediction.
      labels: `[B]`, 0 or 1 in any dtype.
      weights: `[B]`, >= 0; a pair weighs the product of its two.

    Returns:
      In [0, 1]; None when a class is absent.

    Raises:
      ValueError: wrong input (see inputs.py).
    """
    return area(*classes(Rows("binary", scores, labels, weights)))


def areas(rows: Rows) -> tuple[float | None, float | None]:
    """The AUC and the average precision, None where not defined; metrics take them by
    `rows.once(areas)`: the classes are sorted once, and not kept."""
    sides = classes(rows)
    return area(*sides), average_precision(*sides)


def area(positives: Ranked, negatives: Ranked) -> float | None:
    """The AUC: see `auc`."""
    if not (positives.total and negatives.total):
        return None
    twice_won = 0  # without weights an integer of Python: exact whatever the number of pairs
    for at in chunks(positives.scores.size):
        low, high = (negatives.weight_below(positives.scores[at], s) for s in ("left", "right"))
        if positives.weights is None:
            twice_won += int(low.sum()) + int(high.sum())
        else:
            twice_won += float(positives.weights[at] @ (low + high))
    return twice_won / (2 * positives.total * negatives.total)


def average_precision(positives: Ranked, negatives: Ranked) -> float | None:
    """The mean over positives of the precision among the rows scored at least as high.

    That is the sum over thresholds n of (R_n - R_{n-1}) P_n, with recall R and precision P, each
    distinct score a threshold; nothing is interpolated. A model without skill has the base rate.

    Returns:
      In (0, 1]; None without positives.
    """
    if not positives.total:
        return None
    total, sides = 0.0, (positives, negatives)
    for at in chunks(positives.scores.size):
        values = positives.scores[at]
        right, wrong = (of.total - of.weight_below(values, "left") for of in sides)
        weight = 1.0 if positives.weights is None else positives.weights[at]
        total += float(np.sum(weight * right / (right + wrong)))
    return total / positives.total


def _influence(rows: Rows, units: Units) -> Influence:
    """The mean over positives of the negatives below, and that over negatives of the positives
    above, are both the AUC; their influences add up."""
    positives, negatives = classes(rows)
    w, positive, value = rows.counts, rows.labels, area(positives, negatives)
    beaten = np.zeros(len(w))
    if value is not None:
        beaten[positive] = negatives.share_below(rows.scores[positive])
        beaten[~positive] = 1 - positives.share_below(rows.scores[~positive])
    up, down = (units.quotient(side * beaten, side) for side in (w * positive, w * ~positive))
    # Exact, so that models that rank alike have one value.
    return (up + down).times(1.0, np.nan if value is None else value)


AUC = Metric(
    "auc", "AUC", lambda rows: rows.once(areas)[0], column="AUC", influence=_influence, **RANKS
)
AVERAGE_PRECISION = Metric(
    "average_precision",
    "average precision",
    lambda rows: rows.once(areas)[1],
    column="avg.\nprec.",
    **RANKS,
)
