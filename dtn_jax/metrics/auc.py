"""Areas under curves of a binary task, exact with ties: AUC, its standard error, average precision;
and the AUC by 200 thresholds, as the evaluation of DTN's released run computes it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dtn_jax.metrics.influence import Influence, Units
from dtn_jax.metrics.inputs import chunks
from dtn_jax.metrics.metric import RANKS, Metric, Rows
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.shapes import Bool, Float, Int, Shaped

COUNT = 200  # thresholds: the default of tf.metrics.auc
BEYOND = 1e-7  # how far the first threshold is below 0, and the last one above 1
EPSILON = 1e-6  # added to denominators, and to the true positives


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


def ranked(
    scores: Float[np.ndarray, " B"],
    chosen: Bool[np.ndarray, " B"],
    weights: Float[np.ndarray, " B"] | None,
) -> Ranked:
    """The chosen rows."""
    own = scores[chosen]
    if weights is None:
        own.sort()
        return Ranked(own, None, None)
    order = np.argsort(own)
    weights = weights[chosen][order]
    below = np.zeros(len(own) + 1)
    np.cumsum(weights, out=below[1:])
    return Ranked(own[order], weights, below)


def classes(rows: Rows) -> tuple[Ranked, Ranked]:
    """The positives and the negatives of a binary task."""
    positives, negatives = (
        ranked(rows.scores, c, rows.weights) for c in (rows.labels, ~rows.labels)
    )
    return positives, negatives


def auc(
    scores: Float[np.ndarray, " B"],
    labels: Shaped[np.ndarray, " B"],
    weights: Float[np.ndarray, " B"] | None = None,
) -> float | None:
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


class Areas(NamedTuple):
    """What is made of the two classes in the order of their scores; None where not defined."""

    auc: float | None
    standard_error: float | None
    average_precision: float | None


def areas(rows: Rows) -> Areas:
    """Metrics take it by `rows.once(areas)`: the classes are sorted once, and not kept."""
    sides = classes(rows)
    found = area(*sides)
    return Areas(found, standard_error(*sides, found), average_precision(*sides))


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


def standard_error(positives: Ranked, negatives: Ranked, area: float | None) -> float | None:
    """The standard error of an AUC that comes from the sample of examples (DeLong et al. 1988).

    With a_i the share of negatives that positive i beats (ties half), and b_j the share of
    positives that beat negative j, the variance is var(a) / positives + var(b) / negatives.

    Returns:
      At least 0; the 95 % interval is the area +- 1.96 times it. None with fewer than two of a
      class, and of rows with weights.
    """
    if positives.weights is not None or min(positives.total, negatives.total) < 2:
        return None
    # The area is the mean of the a; that of the b is 1 - area.
    beaten = _rank_deviation(positives, negatives, area) / (positives.total - 1)
    lost = _rank_deviation(negatives, positives, 1 - area) / (negatives.total - 1)
    return float(np.sqrt(beaten / positives.total + lost / negatives.total))


def _rank_deviation(values: Ranked, among: Ranked, center: float) -> float:
    """Sum of squares of (the share of `among` below a value, ties half) - center."""
    total = 0.0
    for at in chunks(values.scores.size):
        away = among.share_below(values.scores[at]) - center
        total += away @ away
    return float(total)


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
        own = 1.0 if positives.weights is None else positives.weights[at]
        total += float(np.sum(own * right / (right + wrong)))
    return total / positives.total


def threshold_auc(rows: Rows, count: int = COUNT) -> float | None:
    """The area under the ROC curve through `count` thresholds, which lie evenly on [0, 1].

    `tf.metrics.auc` of TensorFlow 1.14 with its defaults (curve "ROC", trapezoids;
    tensorflow.org/versions/r1.15/api_docs/python/tf/metrics/auc, which warns that predictions
    near 0 or 1 make it poor). With n thresholds t_i, those between the two ends i / (n - 1), and
    the counts of p > t_i in float32,

        y_i = (TP_i + ε) / (TP_i + FN_i + ε)      x_i = FP_i / (FP_i + TN_i + ε)
        AUC = Σ_i (x_i − x_{i+1}) (y_i + y_{i+1}) / 2

    Examples between two thresholds count as ties, so much is lost where all p lie at one end: of
    rare positives that weigh 1 in the loss, or of frequent ones that weigh much.

    Args:
      rows: their scores are logits of p; `inflation` is added, so that p is as a model has it that
        takes no positive weights out of it.
      count: of the thresholds, >= 2.

    Returns:
      In [0, 1]; None when a class is absent, where TensorFlow returns a number.
    """
    labels, weights = rows.labels, rows.weights
    if labels.all() or not labels.any():
        return None
    inner = np.arange(1, count - 1) / (count - 1)
    thresholds = np.array([-BEYOND, *inner, 1 + BEYOND], np.float32)
    passed = np.zeros((2, count + 1))  # by class: the weight of what passes so many thresholds
    for at in chunks(labels.size):
        p = sigmoid(rows.scores[at] + np.float32(rows.inflation or 0))
        times = np.searchsorted(thresholds, p.astype(np.float32), "left")
        for own in (0, 1):
            mask = labels[at] == own
            weight = None if weights is None else weights[at][mask]
            passed[own] += np.bincount(times[mask], weight, minlength=count + 1)
    above = passed[:, :0:-1].cumsum(axis=1)[:, ::-1]  # [class, i]: the weight of p > t_i
    negatives, positives = passed.sum(axis=1)
    x = above[0] / (negatives + EPSILON)
    y = (above[1] + EPSILON) / (positives + EPSILON)
    return float(((x[:-1] - x[1:]) * (y[:-1] + y[1:])).sum() / 2)


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
    "auc", "AUC", lambda rows: rows.once(areas).auc, column="AUC", influence=_influence, **RANKS
)
AUC_SE = Metric("auc_se", "standard error of the AUC", lambda rows: rows.once(areas).standard_error)
AVERAGE_PRECISION = Metric(
    "average_precision",
    "average precision",
    lambda rows: rows.once(areas).average_precision,
    column="avg.\nprec.",
    **RANKS,
)
THRESHOLD_AUC = Metric(
    "threshold_auc",
    f"AUC by {COUNT} thresholds (the released run's)",
    threshold_auc,
    higher_is_better=True,
    bounded=True,
    asked=True,
)
