"""Predicted over observed: the mean prediction over the rate of positives."""

from __future__ import annotations

from dtn_jax.metrics.inputs import mean
from dtn_jax.metrics.metric import Metric, Rows
from dtn_jax.metrics.sigmoid import probabilities_of


def predicted_observed(rows: Rows) -> float | None:
    """The expected number of positives over their number, both by weight.

    What X. He et al., Practical Lessons from Predicting Clicks on Ads at Facebook, 2014, section
    2, call calibration: 1 where the mean is right, above 1 where too much is promised.

    Returns:
      At least 0; None without positives.
    """
    rate = mean(rows.labels, rows.weights)
    return mean(rows.once(probabilities_of), rows.weights) / rate if rate else None


PREDICTED_OBSERVED = Metric(
    "predicted_observed",
    "predicted/observed",
    predicted_observed,
    target=1.0,
    short="pred/obs",
)
