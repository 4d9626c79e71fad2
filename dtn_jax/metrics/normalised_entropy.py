"""Normalised entropy: log loss beside what the base rate alone would have."""

from __future__ import annotations

import numpy as np

from dtn_jax.metrics.inputs import mean
from dtn_jax.metrics.log_loss import log_loss_of
from dtn_jax.metrics.metric import Metric, Rows


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
    return rows.once(log_loss_of) / entropy(rate)


NORMALISED_ENTROPY = Metric(
    "normalised_entropy",
    "normalised entropy",
    normalised_entropy,
    higher_is_better=False,
    selectable=True,
    short="NE",
)
