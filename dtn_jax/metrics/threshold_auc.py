"""AUC by 200 thresholds, as the evaluation of DTN's released run computes it."""

from __future__ import annotations

import numpy as np

from dtn_jax.metrics.inputs import chunks
from dtn_jax.metrics.metric import Metric, Rows
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.shapes import Bool, Float

COUNT = 200  # the default of tf.metrics.auc
BEYOND = 1e-7  # how far the first threshold is below 0, and the last one above 1
EPSILON = 1e-6  # added to denominators, and to the true positives


def threshold_auc(
    scores: Float[np.ndarray, " B"],
    labels: Bool[np.ndarray, " B"],
    weights: Float[np.ndarray, " B"] | None = None,
    count: int = COUNT,
) -> float | None:
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
      scores: `[B]`, logits of p.
      labels: `[B]`.
      weights: `[B]`.
      count: of the thresholds, >= 2.

    Returns:
      In [0, 1]; None when a class is absent, where TensorFlow returns a number.
    """
    if labels.all() or not labels.any():
        return None
    inner = np.arange(1, count - 1) / (count - 1)
    thresholds = np.array([-BEYOND, *inner, 1 + BEYOND], np.float32)
    passed = np.zeros((2, count + 1))  # by class: the weight of what passes so many thresholds
    for at in chunks(labels.size):
        times = np.searchsorted(thresholds, sigmoid(scores[at]).astype(np.float32), "left")
        for own in (0, 1):
            mask = labels[at] == own
            weight = None if weights is None else weights[at][mask]
            passed[own] += np.bincount(times[mask], weight, minlength=count + 1)
    above = passed[:, :0:-1].cumsum(axis=1)[:, ::-1]  # [class, i]: the weight of p > t_i
    negatives, positives = passed.sum(axis=1)
    x = above[0] / (negatives + EPSILON)
    y = (above[1] + EPSILON) / (positives + EPSILON)
    return float(((x[:-1] - x[1:]) * (y[:-1] + y[1:])).sum() / 2)


def _of_rows(rows: Rows) -> float | None:
    """Of p before positive weights are taken out of it, as a model without that step has it."""
    if rows.inflation is None:
        return None
    return threshold_auc(rows.scores + np.float32(rows.inflation), rows.labels, rows.weights)


THRESHOLD_AUC = Metric(
    "threshold_auc",
    f"AUC by {COUNT} thresholds (the released run's)",
    _of_rows,
    higher_is_better=True,
    bounded=True,
    asked=True,
)
