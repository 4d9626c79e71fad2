"""Average precision: the area under the precision-recall curve, for rare positives."""

from __future__ import annotations

import numpy as np

from dtn_jax.metrics.auc import places
from dtn_jax.metrics.inputs import checked, chunks
from dtn_jax.metrics.metric import Metric
from dtn_jax.shapes import Float, Shaped


def average_precision(
    scores: Float[np.ndarray, " B"],
    labels: Shaped[np.ndarray, " B"],
    weights: Float[np.ndarray, " B"] | None = None,
) -> float | None:
    """The mean over positives of the precision among the rows scored at least as high.

    That is the sum over thresholds n of (R_n - R_{n-1}) P_n, with recall R and precision P, each
    distinct score a threshold; nothing is interpolated. A model without skill has the base rate.

    Args:
      scores: `[B]`, any increasing function of the prediction.
      labels: `[B]`, 0 or 1 in any dtype.
      weights: `[B]`, >= 0.

    Returns:
      In (0, 1]; None without positives.

    Raises:
      ValueError: wrong input (see inputs.py).
    """
    scores, labels, weights = checked(scores, labels, weights, binary=True)
    if not labels.any():
        return None
    positives, of_positives = _sorted(scores, labels, weights)
    negatives, of_negatives = _sorted(scores, ~labels, weights)
    total = 0.0
    for at in chunks(positives.size):
        right = _at_least(positives[at], positives, of_positives)
        wrong = _at_least(positives[at], negatives, of_negatives)
        own = 1.0 if of_positives is None else np.diff(of_positives[at.start : at.stop + 1])
        total += float(np.sum(own * right / (right + wrong)))
    return total / (positives.size if of_positives is None else float(of_positives[-1]))


def _sorted(
    scores: np.ndarray, chosen: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The chosen scores in rising order, and the weight of the i lowest, `[N + 1]`."""
    own = scores[chosen]
    if weights is None:
        own.sort()
        return own, None
    order = np.argsort(own)
    cumulated = np.zeros(len(own) + 1)
    np.cumsum(weights[chosen][order], out=cumulated[1:])
    return own[order], cumulated


def _at_least(
    values: np.ndarray, among: np.ndarray, cumulated: np.ndarray | None
) -> Float[np.ndarray, " N"]:
    """How many, or the weight, of the rising `among` that are no lower than each value."""
    below, _ = places(values, among)
    if cumulated is None:
        return (among.size - below).astype(np.float64)
    return cumulated[-1] - cumulated[below]


AVERAGE_PRECISION = Metric(
    "average_precision",
    "average precision",
    lambda rows: average_precision(rows.scores, rows.labels, rows.weights),
    higher_is_better=True,
    selectable=True,
    column="avg.\nprec.",
    bounded=True,
)
