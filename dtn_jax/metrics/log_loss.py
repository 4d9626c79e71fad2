"""Log loss, the mean binary cross-entropy; and normalised entropy, beside the base rate's."""

from __future__ import annotations

import numpy as np

from dtn_jax.metrics.influence import Influence, Units
from dtn_jax.metrics.inputs import chunks, mean
from dtn_jax.metrics.metric import LOSS, Metric, Rows


def log_loss(rows: Rows) -> float | None:
    """Mean binary cross-entropy in nats, from logits and so without clipping; metrics take it by
    `rows.once(log_loss)`.

    Returns:
      At least 0; None without examples. Defined when only one class is there.
    """
    if not rows.labels.size:
        return None
    total = 0.0
    for at in chunks(rows.labels.size):
        z = rows.scores[at].astype(np.float64)
        losses = np.logaddexp(0.0, np.where(rows.labels[at], -z, z))
        total += losses.sum() if rows.weights is None else losses @ rows.weights[at]
    return float(total / (rows.labels.size if rows.weights is None else rows.weights.sum()))


def _log_loss_influence(rows: Rows, units: Units) -> Influence:
    w, z = rows.counts, rows.scores.astype(np.float64)
    return units.quotient(w * np.logaddexp(0.0, np.where(rows.labels, -z, z)), w)


def entropy(rate: float) -> float:
    """Of a coin, in nats; 0 for a rate of 0 or 1."""
    return float(-sum(p * np.log(p) for p in (rate, 1 - rate) if p))


def normalised_entropy(rows: Rows) -> float | None:
    """The mean log loss over the entropy of the base rate, which a constant has at best.

    X. He et al., Practical Lessons from Predicting Clicks on Ads at Facebook, 2014, equation 1.
    Below 1: better than the base rate; it compares tasks and days of unequal rates.

    Returns:
      At least 0; None where the rows are of one class.
    """
    rate = mean(rows.labels, rows.weights)
    if rate is None or rows.labels.all() or not rows.labels.any():
        return None
    return rows.once(log_loss) / entropy(rate)


def _entropy_influence(rows: Rows, units: Units) -> Influence:
    w, loss = rows.counts, _log_loss_influence(rows, units)
    rate = units.quotient(w * rows.labels, w)
    r = np.float64(rate.value)
    with np.errstate(divide="ignore", invalid="ignore"):
        base = -(r * np.log(r) + (1 - r) * np.log1p(-r))
        value = loss.value / base
        moved = value * np.log((1 - r) / r) * rate.units  # the entropy's derivative
        return loss._replace(value=float(value), units=(loss.units - moved) / base)


LOG_LOSS = Metric(
    "logloss", "log loss", lambda rows: rows.once(log_loss), column="log\nloss",
    influence=_log_loss_influence, **LOSS,
)  # fmt: skip
NORMALISED_ENTROPY = Metric(
    "normalised_entropy", "normalised entropy", normalised_entropy, short="NE",
    influence=_entropy_influence, **LOSS,
)  # fmt: skip
