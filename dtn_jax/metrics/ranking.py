"""Metrics on the host, in numpy and float64: ranking, log loss, regression; all of a task.

AUC within groups is in gauc.py, calibration in calibration.py.

A metric that is not defined is None, never NaN: the AUC of one class, the log loss of no
example, the R2 of a constant label. Wrong input (scores that are not finite, labels that are
neither 0 nor 1, negative weights, lengths that differ) raises ValueError. Rows of weight 0 count
as absent everywhere. The arrays that a metric of a binary task makes beside its input stay
within 32 bytes a row without weights (eight times float32 scores) and 64 with them, as long as
there are two rows or more to a group.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Shaped

from dtn_jax.metrics.calibration import expected_calibration_error
from dtn_jax.metrics.gauc import gauc
from dtn_jax.metrics.inputs import checked, chunks, mean

Metrics = dict[str, float | int | None]


def sigmoid(logits: Float[np.ndarray, " B"]) -> Float[np.ndarray, " B"]:
    """1 / (1 + exp(-z)) in float64, without overflow."""
    probabilities = np.empty(logits.shape)
    for at in chunks(logits.size):
        probabilities[at] = np.exp(-np.logaddexp(0.0, -logits[at].astype(np.float64)))
    return probabilities


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
      ValueError: wrong input (see the module).
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
        low, high = _places(positives[at], negatives)
        won += weights[at] @ (cumulated[low] + cumulated[high]) / 2
    return float(won / (weights.sum() * cumulated[-1]))


def _places(
    values: Float[np.ndarray, " N"], among: Float[np.ndarray, " M"]
) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """How many of the rising `among` are below each value, and how many not above it."""
    return np.searchsorted(among, values, "left"), np.searchsorted(among, values, "right")


def _auc_of_sorted(positives: Float[np.ndarray, " P"], negatives: Float[np.ndarray, " N"]) -> float:
    twice_won = 0  # an integer of Python: exact whatever the number of pairs
    for at in chunks(positives.size):
        low, high = _places(positives[at], negatives)
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
      >= 0; the 95 % interval is auc +- 1.96 times it. None with fewer than two of a class.

    Raises:
      ValueError: wrong input (see the module).
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
        low, high = _places(values[at], among)
        away = (low + high) / (2.0 * among.size) - center
        total += away @ away
    return float(total)


def log_loss(
    logits: Float[np.ndarray, " B"],
    labels: Shaped[np.ndarray, " B"],
    weights: Float[np.ndarray, " B"] | None = None,
) -> float | None:
    """Mean binary cross-entropy in nats, from logits and so without clipping.

    Args:
      logits: `[B]`.
      labels: `[B]`, 0 or 1 in any dtype.
      weights: `[B]`, >= 0.

    Returns:
      >= 0; None without examples. Defined when only one class is there.

    Raises:
      ValueError: wrong input (see the module).
    """
    logits, labels, weights = checked(logits, labels, weights, binary=True)
    if not logits.size:
        return None
    total = 0.0
    for at in chunks(logits.size):
        z = logits[at].astype(np.float64)
        losses = np.logaddexp(0.0, np.where(labels[at], -z, z))
        total += losses.sum() if weights is None else losses @ weights[at]
    return float(total / (logits.size if weights is None else weights.sum()))


def binary_metrics(
    logits: Float[np.ndarray, " B"],
    labels: Shaped[np.ndarray, " B"],
    weights: Float[np.ndarray, " B"] | None,
    bins: int,
    group: Int[np.ndarray, " B"] | None = None,
) -> Metrics:
    """Every metric of a binary task.

    Args:
      logits: `[B]`, the rows of the task's space only.
      labels: `[B]`, 0 or 1 in any dtype.
      weights: `[B]`, >= 0, or None.
      bins: of the expected calibration error.
      group: `[B]`, the rows' groups (users, sessions), or None where the data have none.

    Returns:
      `auc`, `auc_se` (its standard error; None with weights), `logloss` (nats), `ece`,
      `base_rate`, `mean_prediction` (both weighted), and the numbers of rows (not weighted, those
      of weight 0 left out) `positives` and `examples`. With groups also `gauc`, the number of
      groups that it is over, `gauc_groups`, and of those left out, `gauc_skipped`.

    Raises:
      ValueError: wrong input (see the module), bins < 1.
    """
    within = None if group is None else gauc(logits, labels, group, weights)
    logits, labels, weights = checked(logits, labels, weights, binary=True)
    found = {
        "auc": auc(logits, labels, weights),
        "auc_se": auc_standard_error(logits, labels) if weights is None else None,
        "logloss": log_loss(logits, labels, weights),
    }
    probabilities = sigmoid(logits)  # float64: only now, when the sorted copies are gone
    found |= {
        "ece": expected_calibration_error(probabilities, labels, bins, weights),
        "positives": int(np.count_nonzero(labels)),
        "examples": int(labels.size),
        "base_rate": mean(labels, weights),
        "mean_prediction": mean(probabilities, weights),
    }
    if within is not None:
        found |= {
            "gauc": within.value,
            "gauc_groups": within.groups,
            "gauc_skipped": within.skipped,
        }
    return found


def regression_metrics(
    predictions: Float[np.ndarray, " B"],
    labels: Shaped[np.ndarray, " B"],
    weights: Float[np.ndarray, " B"] | None = None,
) -> Metrics:
    """Every metric of a regression task.

    Args:
      predictions: `[B]`, the rows of the task's space only.
      labels: `[B]`, in the same unit.
      weights: `[B]`, >= 0, or None.

    Returns:
      `rmse` and `mae` in the label's unit, `r2` = 1 - squared error / squared deviation from the
      (weighted) mean label, None for a constant label, and the number of rows `examples`.

    Raises:
      ValueError: wrong input (see the module).
    """
    predictions, labels, weights = checked(predictions, labels, weights, binary=False)
    error = predictions.astype(np.float64) - labels
    squared = mean(error**2, weights)
    r2 = None
    if labels.size and labels.min() < labels.max():
        deviation = labels - np.average(labels, weights=weights)
        r2 = float(1 - squared / np.average(deviation**2, weights=weights))
    return {
        "rmse": None if squared is None else float(np.sqrt(squared)),
        "mae": mean(np.abs(error), weights),
        "r2": r2,
        "examples": int(labels.size),
    }
