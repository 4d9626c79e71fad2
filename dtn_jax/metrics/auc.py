"""AUC, exact with ties, and its standard error."""

from __future__ import annotations

import numpy as np

from dtn_jax.metrics.inputs import checked, chunks
from dtn_jax.metrics.metric import Metric, Rows
from dtn_jax.shapes import Float, Int, Shaped


def auc(
    scores: Float[np.ndarray, " B"],
    labels: Shaped[np.ndarray, " B"],
    weights: Float[np.ndarray, " B"] | None = None,
) -> float | None:
    """Area under the ROC curve, exact with ties: P(positive > negative) + P(equal) / 2.

    Sorts the negatives and looks every positive up (Mann-Whitney): O(B log B), 0.5 s for ten
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
    scores, labels, weights = checked(scores, labels, weights, binary=True)
    positives, negatives = scores[labels], scores[~labels]
    if not positives.size or not negatives.size:
        return None
    if weights is None:
        positives.sort()
        negatives.sort()
        return _auc_of_sorted(positives, negatives)
    order = np.argsort(negatives)
    negatives = negatives[order]
    cumulated = np.zeros(len(negatives) + 1)  # [i]: the weight of the i lowest negatives
    np.cumsum(weights[~labels][order], out=cumulated[1:])
    weights, won = weights[labels], 0.0
    for at in chunks(positives.size):
        low, high = places(positives[at], negatives)
        won += weights[at] @ (cumulated[low] + cumulated[high]) / 2
    return float(won / (weights.sum() * cumulated[-1]))


def places(
    values: Float[np.ndarray, " N"], among: Float[np.ndarray, " M"]
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """How many of the rising `among` are below each value, and how many are not above it."""
    return np.searchsorted(among, values, "left"), np.searchsorted(among, values, "right")


def _auc_of_sorted(positives: Float[np.ndarray, " P"], negatives: Float[np.ndarray, " N"]) -> float:
    twice_won = 0  # an integer of Python: exact whatever the number of pairs
    for at in chunks(positives.size):
        low, high = places(positives[at], negatives)
        twice_won += int(low.sum()) + int(high.sum())
    return twice_won / (2 * positives.size * negatives.size)


def auc_standard_error(
    scores: Float[np.ndarray, " B"], labels: Shaped[np.ndarray, " B"]
) -> float | None:
    """The standard error of `auc` that comes from the sample of examples (DeLong et al. 1988).

    With a_i the share of negatives that positive i beats (ties half), and b_j the share of
    positives that beat negative j, the variance is var(a) / positives + var(b) / negatives.

    Args:
      scores, labels: as `auc`.

    Returns:
      At least 0; the 95 % interval is auc +- 1.96 times it. None with fewer than two of a class.

    Raises:
      ValueError: wrong input (see inputs.py).
    """
    scores, labels, _ = checked(scores, labels, None, binary=True)
    positives, negatives = scores[labels], scores[~labels]
    if positives.size < 2 or negatives.size < 2:
        return None
    positives.sort()
    negatives.sort()
    area = _auc_of_sorted(positives, negatives)  # the mean of the a; that of the b is 1 - area
    beaten = _rank_deviation(positives, negatives, area) / (positives.size - 1)
    lost = _rank_deviation(negatives, positives, 1 - area) / (negatives.size - 1)
    return float(np.sqrt(beaten / positives.size + lost / negatives.size))


def _rank_deviation(
    values: Float[np.ndarray, " N"], among: Float[np.ndarray, " M"], center: float
) -> float:
    """Sum of squares of (the share of `among` below a value, ties half) - center."""
    total = 0.0
    for at in chunks(values.size):
        low, high = places(values[at], among)
        away = (low + high) / (2.0 * among.size) - center
        total += away @ away
    return float(total)


def _standard_error(rows: Rows) -> float | None:
    return auc_standard_error(rows.scores, rows.labels) if rows.weights is None else None


AUC = Metric(
    "auc",
    "AUC",
    lambda rows: auc(rows.scores, rows.labels, rows.weights),
    higher_is_better=True,
    selectable=True,
    column="AUC",
    bounded=True,
)
AUC_SE = Metric("auc_se", "standard error of the AUC", _standard_error)  # None with weights
