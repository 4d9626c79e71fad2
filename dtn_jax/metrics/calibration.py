"""Calibration on the host: predicted against observed rates, in equally filled bins.

What is not defined is None, wrong input raises ValueError, and rows of weight 0 count as absent.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from dtn_jax.metrics.influence import Influence, Units
from dtn_jax.metrics.inputs import Column, Labels, Weights, checked, chunks, cumulated, mean
from dtn_jax.metrics.metric import Metric, Rows
from dtn_jax.metrics.sigmoid import probabilities_of
from dtn_jax.shapes import Float, Int

LOW_RATE = 0.05  # below this base rate, predictions are looked at on a logarithmic scale
SURE = 1.5  # standard errors of a bin's error that make one


@dataclasses.dataclass(frozen=True)
class CalibrationCurve:
    """Predicted against observed rates in K non-empty bins, lowest predictions first.

    Attributes:
      prediction: `[K]`, the mean predicted probability.
      rate: `[K]`, the share of positives.
      count: `[K]`, examples.
      effective: `[K]`, Kish's effective number of examples, (sum w)^2 / sum w^2, for intervals;
        equal to `count` without weights.
      base_rate: the share of positives over all examples.
    """

    prediction: Float[np.ndarray, " K"]
    rate: Float[np.ndarray, " K"]
    count: Int[np.ndarray, " K"]
    effective: Float[np.ndarray, " K"]
    base_rate: float


def calibration_curve(
    probabilities: Column,
    labels: Labels,
    bins: int,
    weights: Weights = None,
) -> CalibrationCurve | None:
    """Predicted against observed rates in equally filled bins that never part tied predictions.

    The examples are ordered by prediction. All examples of one predicted value, which take up
    the span [a, b] of the cumulated weight (total W), go to bin floor(bins (a + b) / (2 W)):
    that of the middle of their span. Without ties the bins' sizes differ by at most 1; a value
    shared by many leaves neighbouring bins empty, and empty bins are left out. An example of
    weight k is the same as k copies of it.

    Beside its input it holds a sorted copy of the predictions (with weights, their order and
    the cumulated weights too).

    Args:
      probabilities: `[B]`, in [0, 1].
      labels: `[B]`, 0 or 1 in any dtype.
      bins: how many bins, >= 1.
      weights: `[B]`, >= 0.

    Returns:
      The curve; None without examples.

    Raises:
      ValueError: wrong input (see the module).
    """
    p, labels, weights = checked(probabilities, labels, weights, binary=True)
    if not p.size:
        return None
    count, weight, square, predicted, positive = _bin_sums(p, labels, bins, weights)
    return CalibrationCurve(
        prediction=predicted / weight,
        rate=positive / weight,
        count=count.astype(np.int64),
        effective=weight**2 / square,
        base_rate=mean(labels, weights),
    )


def _bin_sums(p: Column, labels: Labels, bins: int, weights: Weights) -> Float[np.ndarray, "5 K"]:
    """Of each non-empty bin: its rows, and the sums of w, w^2, w p and w label."""
    lowest = lowest_of_bins(p, bins, weights)
    sums = np.zeros((5, len(lowest)))
    for at in chunks(p.size):
        bin_ = np.searchsorted(lowest, p[at], side="right") - 1
        w = np.ones(len(bin_)) if weights is None else weights[at]
        for total, values in zip(sums, (None, w, w * w, w * p[at], w * labels[at]), strict=True):
            total += np.bincount(bin_, values, minlength=len(lowest))
    return sums


def lowest_of_bins(p: Column, bins: int, weights: Weights) -> Float[np.ndarray, " K"]:
    """The lowest prediction of each non-empty bin of `calibration_curve`, rising.

    Where bin k begins is decided by the one value whose span holds its share k W / bins of the
    cumulated weight: the spans of lower values end before it, those of higher ones begin after.
    """
    if weights is None:
        ordered = np.sort(p)
        bounds = np.arange(bins) * p.size // bins
        total = p.size
    else:
        order = np.argsort(p)
        ordered = p[order]
        lower = cumulated(weights[order])  # [i]: the weight of the i lowest predictions
        total = lower[-1]
        bounds = np.searchsorted(lower[1:], np.arange(bins) * total / bins, side="right")
    values = ordered[np.minimum(bounds, p.size - 1)]
    first, end = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    span = (first, end) if weights is None else (lower[first], lower[end])
    of_value = np.floor(bins * ((span[0] + span[1]) / 2) / total)
    starts = np.unique(np.where(of_value >= np.arange(bins), first, end))
    return ordered[starts[starts < p.size]]


def expected_calibration_error(rows: Rows) -> float | None:
    """Mean over examples of |mean prediction - rate| of the example's bin.

    The bins are those of `calibration_curve`: equally filled, tied predictions together.

    Returns:
      In [0, 1]; None without examples.
    """
    p = rows.once(probabilities_of)
    if not p.size:
        return None
    _, weight, _, predicted, positive = _bin_sums(p, rows.labels, rows.bins, rows.weights)
    return float(np.abs(predicted - positive).sum() / weight.sum())


def _influence(rows: Rows, units: Units) -> Influence:
    """The ECE is a sum of |predicted - observed| over bins, which has no derivative where the two
    are equal, and there the sign of a bin's error is as likely wrong as right. In place of the sign
    stands 2 Phi(1.5 t) - 1, with t the bin's error in standard errors: with a lower factor,
    comparisons find too much between equal models; with a higher one, too little between unequal
    ones."""
    p, w = rows.once(probabilities_of), rows.counts
    if not len(p):
        return units.quotient(w, w)
    lowest = lowest_of_bins(p, rows.bins, rows.weights)
    bin_, bins = np.searchsorted(lowest, p, side="right") - 1, len(lowest)
    error = w * (p - rows.labels)
    cells = np.bincount(units.of_row * bins + bin_, error, minlength=units.count * bins)
    cells = cells.reshape(units.count, bins)
    away, deviation = cells.sum(axis=0), np.sqrt(np.square(cells).sum(axis=0))
    t = SURE * away / np.maximum(deviation, 1e-300)
    sign = np.array([math.erf(x / math.sqrt(2)) for x in t])
    quotient = units.quotient(sign[bin_] * error, w)
    return quotient.times(1.0, float(np.abs(away).sum() / w.sum()))


ECE = Metric(
    "ece",
    "calibration error (ECE)",
    expected_calibration_error,
    higher_is_better=False,  # but not selectable: a constant, the base rate, has none
    column="ECE",
    short="ECE",
    bounded=True,
    influence=_influence,
)
