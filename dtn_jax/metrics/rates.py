"""Rates of a binary task: how many rows, how many positive, and what is predicted beside that."""

from __future__ import annotations

import numpy as np

from dtn_jax.metrics.influence import Influence, Units
from dtn_jax.metrics.inputs import mean
from dtn_jax.metrics.metric import Metric, Rows
from dtn_jax.metrics.sigmoid import probabilities_of
from dtn_jax.schema import TASK_KINDS

Number = np.ndarray | np.number


def wilson(rate: Number, count: Number, z: float = 1.96) -> tuple[Number, Number]:
    """Wilson's interval of a rate seen in `count` examples; z = 1.96 covers 95 %.

    E. B. Wilson, Probable inference, J. Am. Stat. Assoc. 22 (1927):
    (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).
    """
    middle = rate + z**2 / (2 * count)
    half = z * np.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    scale = 1 + z**2 / count
    return np.maximum((middle - half) / scale, 0), np.minimum((middle + half) / scale, 1)


def predicted_observed(rows: Rows) -> float | None:
    """The expected number of positives over their number, both by weight.

    What X. He et al., Practical Lessons from Predicting Clicks on Ads at Facebook, 2014, section
    2, call calibration: 1 where the mean is right, above 1 where too much is promised.

    Returns:
      At least 0; None without positives.
    """
    rate = base_rate(rows)
    return mean_prediction(rows) / rate if rate else None


def base_rate(rows: Rows) -> float | None:
    """The share of positives, by weight; None without examples."""
    return mean(rows.labels, rows.weights)


def mean_prediction(rows: Rows) -> float | None:
    """The mean predicted probability, by weight; None without examples."""
    return mean(rows.once(probabilities_of), rows.weights)


def _influence(rows: Rows, units: Units) -> Influence:
    w = rows.counts
    return units.quotient(w * rows.once(probabilities_of), w * rows.labels)


PREDICTED_OBSERVED = Metric(
    "predicted_observed", "predicted/observed", predicted_observed, target=1.0, short="pred/obs",
    influence=_influence,
)  # fmt: skip
MEAN_PREDICTION = Metric(
    "mean_prediction", "mean prediction", mean_prediction, "%", column="mean\npred."
)
BASE_RATE = Metric("base_rate", "base rate", base_rate, "%", column="base\nrate")
POSITIVES = Metric(
    "positives",
    "positives",  # rows, not their weight
    lambda rows: int(np.count_nonzero(rows.labels)),
    ",d",
    column="posi-\ntives",
)
EXAMPLES = Metric(
    "examples", "examples", lambda rows: rows.labels.size, ",d", TASK_KINDS, column="exam-\nples"
)
