"""Metrics on the host, in numpy and float64: ranking, log loss, calibration, regression.

A metric that is not defined is None, never NaN: the AUC of one class, the log loss of no
example, the R2 of a constant label. Wrong input (scores that are not finite, labels that are
neither 0 nor 1, negative weights, lengths that differ) raises ValueError. Rows of weight 0 count
as absent everywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int, Shaped

from dtn_jax.schema import Schema, Task

LOW_RATE = 0.05  # below this base rate, predictions are looked at on a logarithmic scale

Metrics = dict[str, float | int | None]


def _checked(
    scores: Float[np.ndarray, " B"],
    labels: Shaped[np.ndarray, " B"],
    weights: Float[np.ndarray, " B"] | None,
    binary: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The three arrays without rows of weight 0: labels bool if binary, else float64."""
    if scores.shape != labels.shape or (weights is not None and weights.shape != scores.shape):
        got = [a.shape for a in (scores, labels, weights) if a is not None]
        raise ValueError(f"scores, labels and weights differ in shape: {got}")
    _finite("scores", scores)
    if binary:
        wrong = np.count_nonzero((labels != 0) & (labels != 1))
        if wrong:
            raise ValueError(f"{wrong} of {labels.size} labels are neither 0 nor 1")
        labels = labels == 1
    else:
        labels = labels.astype(np.float64)
        _finite("labels", labels)
    if weights is None:
        return scores, labels, None
    _finite("weights", weights)
    if (weights < 0).any():
        raise ValueError(f"{np.count_nonzero(weights < 0)} of {weights.size} weights are negative")
    keep = weights > 0
    return scores[keep], labels[keep], weights[keep].astype(np.float64)


def _finite(what: str, values: np.ndarray) -> None:
    bad = values.size - np.count_nonzero(np.isfinite(values))
    if bad:
        raise ValueError(f"{bad} of {values.size} {what} are not finite (NaN or infinite)")


def _mean(values: np.ndarray, weights: np.ndarray | None) -> float | None:
    return float(np.average(values, weights=weights)) if values.size else None


def sigmoid(logits: Float[np.ndarray, " B"]) -> Float[np.ndarray, " B"]:
    """1 / (1 + exp(-z)) in float64, without overflow."""
    return np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))


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
    scores, labels, weights = _checked(scores, labels, weights, binary=True)
    positives, negatives = scores[labels], scores[~labels]
    if not positives.size or not negatives.size:
        return None
    if weights is None:
        positives, negatives = np.sort(positives), np.sort(negatives)
        below = np.searchsorted(negatives, positives, "left").sum(dtype=np.int64)
        not_above = np.searchsorted(negatives, positives, "right").sum(dtype=np.int64)
        return float((below + not_above) / (2.0 * positives.size * negatives.size))
    order = np.argsort(negatives)
    negatives = negatives[order]
    # cumulated[i]: the weight of the i lowest negatives
    cumulated = np.concatenate([[0.0], np.cumsum(weights[~labels][order])])
    below = cumulated[np.searchsorted(negatives, positives, "left")]
    not_above = cumulated[np.searchsorted(negatives, positives, "right")]
    won = np.sum(weights[labels] * (below + not_above)) / 2
    return float(won / (weights[labels].sum() * cumulated[-1]))


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
    scores, labels, _ = _checked(scores, labels, None, binary=True)
    positives, negatives = np.sort(scores[labels]), np.sort(scores[~labels])
    if positives.size < 2 or negatives.size < 2:
        return None

    def mean_rank(values, among):
        low, high = (np.searchsorted(among, values, side) for side in ("left", "right"))
        return (low + high) / (2.0 * among.size)

    beaten, lost = mean_rank(positives, negatives), mean_rank(negatives, positives)
    variance = np.var(beaten, ddof=1) / positives.size + np.var(lost, ddof=1) / negatives.size
    return float(np.sqrt(variance))


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
    logits, labels, weights = _checked(logits, labels, weights, binary=True)
    signed = np.where(labels, -logits.astype(np.float64), logits.astype(np.float64))
    return _mean(np.logaddexp(0.0, signed), weights)


@dataclasses.dataclass(frozen=True)
class CalibrationCurve:
    """Predicted against observed rates in K non-empty bins, lowest predictions first.

    Attributes:
      prediction: `[K]`, the mean predicted probability.
      rate: `[K]`, the share of positives.
      count: `[K]`, examples.
      weight: `[K]`, their summed weight; equal to `count` without weights.
      effective: `[K]`, Kish's effective number of examples, (sum w)^2 / sum w^2, for intervals;
        equal to `count` without weights.
      base_rate: the share of positives over all examples.
      edges: `[E]`, edges of a histogram of the predictions: equally wide over [0, 1], or, for
        base rates under `LOW_RATE`, equal ratios from the lowest prediction to the highest (or
        ten times the lowest).
      histogram: `[E - 1]`, the summed weight of the predictions between them.
    """

    prediction: Float[np.ndarray, " K"]
    rate: Float[np.ndarray, " K"]
    count: Int[np.ndarray, " K"]
    weight: Float[np.ndarray, " K"]
    effective: Float[np.ndarray, " K"]
    base_rate: float
    edges: Float[np.ndarray, " E"]
    histogram: Float[np.ndarray, " N"]


def calibration_curve(
    probabilities: Float[np.ndarray, " B"],
    labels: Shaped[np.ndarray, " B"],
    bins: int,
    weights: Float[np.ndarray, " B"] | None = None,
) -> CalibrationCurve | None:
    """Predicted against observed rates in equally filled bins that never part tied predictions.

    The examples are ordered by prediction. All examples of one predicted value, which take up
    the span [a, b] of the cumulated weight (total W), go to bin floor(bins (a + b) / (2 W)):
    that of the middle of their span. Without ties the bins' sizes differ by at most 1; a value
    shared by many leaves neighbouring bins empty, and empty bins are left out. An example of
    weight k is the same as k copies of it.

    Args:
      probabilities: `[B]`, in [0, 1].
      labels: `[B]`, 0 or 1 in any dtype.
      bins: how many bins, >= 1.
      weights: `[B]`, >= 0.

    Returns:
      The curve; None without examples.

    Raises:
      ValueError: wrong input (see the module), a probability outside [0, 1], bins < 1.
    """
    if bins < 1:
        raise ValueError(f"got {bins} bins, expected >= 1")
    p, labels, weights = _checked(probabilities, labels, weights, binary=True)
    outside = np.count_nonzero((p < 0) | (p > 1))
    if outside:
        raise ValueError(f"{outside} of {p.size} probabilities are outside [0, 1]")
    if not p.size:
        return None
    p = p.astype(np.float64)
    w = np.ones_like(p) if weights is None else weights
    _, value = np.unique(p, return_inverse=True)
    end = np.cumsum(np.bincount(value, w))
    start = np.concatenate([[0.0], end[:-1]])
    of_value = np.floor(bins * ((start + end) / 2) / end[-1]).astype(np.int64)
    of_row = np.minimum(of_value, bins - 1)[value]

    def per_bin(values):
        return np.bincount(of_row, values, minlength=bins)[filled]

    count = np.bincount(of_row, minlength=bins)
    filled = count > 0
    weight = per_bin(w)
    rate = per_bin(w * labels) / weight
    base_rate = float(np.average(labels, weights=weights))
    if base_rate < LOW_RATE:
        low = max(p.min(), 1e-9)
        edges = np.geomspace(low, max(p.max(), 10 * low), 41)
        inside = np.clip(p, edges[0], edges[-1])
    else:
        edges = np.linspace(0, 1, 41)
        inside = p
    return CalibrationCurve(
        prediction=per_bin(w * p) / weight,
        rate=rate,
        count=count[filled],
        weight=weight,
        effective=weight**2 / per_bin(w * w),
        base_rate=base_rate,
        edges=edges,
        histogram=np.histogram(inside, edges, weights=w)[0],
    )


def expected_calibration_error(
    probabilities: Float[np.ndarray, " B"],
    labels: Shaped[np.ndarray, " B"],
    bins: int,
    weights: Float[np.ndarray, " B"] | None = None,
) -> float | None:
    """Mean over examples of |mean prediction - rate| of the example's bin.

    The bins are those of `calibration_curve`: equally filled, tied predictions together.

    Args, errors: as `calibration_curve`.

    Returns:
      In [0, 1]; None without examples.
    """
    curve = calibration_curve(probabilities, labels, bins, weights)
    if curve is None:
        return None
    return float(np.average(np.abs(curve.prediction - curve.rate), weights=curve.weight))


def binary_metrics(
    logits: Float[np.ndarray, " B"],
    labels: Shaped[np.ndarray, " B"],
    weights: Float[np.ndarray, " B"] | None,
    bins: int,
) -> Metrics:
    """Every metric of a binary task.

    Args:
      logits: `[B]`, the rows of the task's space only.
      labels: `[B]`, 0 or 1 in any dtype.
      weights: `[B]`, >= 0, or None.
      bins: of the expected calibration error.

    Returns:
      `auc`, `auc_se` (its standard error; None with weights), `logloss` (nats), `ece`,
      `base_rate`, `mean_prediction` (both weighted), and the numbers of rows (not weighted, those
      of weight 0 left out) `positives` and `examples`.

    Raises:
      ValueError: wrong input (see the module), bins < 1.
    """
    logits, labels, weights = _checked(logits, labels, weights, binary=True)
    probabilities = sigmoid(logits)
    return {
        "auc": auc(logits, labels, weights),
        "auc_se": auc_standard_error(logits, labels) if weights is None else None,
        "logloss": log_loss(logits, labels, weights),
        "ece": expected_calibration_error(probabilities, labels, bins, weights),
        "positives": int(np.count_nonzero(labels)),
        "examples": int(labels.size),
        "base_rate": _mean(labels, weights),
        "mean_prediction": _mean(probabilities, weights),
    }


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
    predictions, labels, weights = _checked(predictions, labels, weights, binary=False)
    error = predictions.astype(np.float64) - labels
    squared = _mean(error**2, weights)
    r2 = None
    if labels.size and labels.min() < labels.max():
        deviation = labels - np.average(labels, weights=weights)
        r2 = float(1 - squared / np.average(deviation**2, weights=weights))
    return {
        "rmse": None if squared is None else float(np.sqrt(squared)),
        "mae": _mean(np.abs(error), weights),
        "r2": r2,
        "examples": int(labels.size),
    }


def selection_value(task: Task, metrics: Mapping[str, float | int | None]) -> float | None:
    """The metric that model selection maximises: AUC of a binary task, R2 of a regression."""
    return metrics["auc" if task.kind == "binary" else "r2"]


def mean_selection(
    results: Mapping[str, Mapping[str, float | int | None]], schema: Schema
) -> float | None:
    """Mean of the tasks' `selection_value`, each in the space of its own loss.

    Args:
      results: {task@space: metrics}; every task's own space must be among the keys.
      schema: names the tasks.

    Returns:
      The mean of those that are defined; None when none is.

    Raises:
      KeyError: a task's own space is missing.
    """
    values = [selection_value(t, results[f"{t.name}@{t.space}"]) for t in schema.tasks]
    values = [v for v in values if v is not None]
    return float(np.mean(values)) if values else None
