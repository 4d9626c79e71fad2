"""Log loss: the mean binary cross-entropy."""

from __future__ import annotations

import numpy as np

from dtn_jax.metrics.inputs import checked, chunks
from dtn_jax.metrics.metric import Metric, Rows
from dtn_jax.shapes import Float, Shaped


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
      At least 0; None without examples. Defined when only one class is there.

    Raises:
      ValueError: wrong input (see inputs.py).
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


def log_loss_of(rows: Rows) -> float | None:
    """Metrics take it by `rows.once(log_loss_of)`."""
    return log_loss(rows.scores, rows.labels, rows.weights)


LOG_LOSS = Metric(
    "logloss",
    "log loss",
    lambda rows: rows.once(log_loss_of),
    higher_is_better=False,
    selectable=True,
    column="log\nloss",
)
