"""Metrics on the host, in numpy and float64: one file an idea, one record a metric.

A metric that is not defined is None, never NaN: the AUC of one class, the log loss of no example,
the R² of a constant label. Wrong input (scores that are not finite, labels that are neither 0 nor
1, negative weights, lengths that differ) raises ValueError. Rows of weight 0 count as absent
everywhere.

A metric of your own is a file with a function of `Rows` and a `Metric`, and a line here: then
results.json, metrics.jsonl, the terminal's tables and the learning curves have it, and
`train.select` may name it.
"""

from __future__ import annotations

from dtn_jax.metrics.auc import AUC, AUC_SE
from dtn_jax.metrics.average_precision import AVERAGE_PRECISION
from dtn_jax.metrics.calibration import ECE, MEAN_PREDICTION
from dtn_jax.metrics.counts import BASE_RATE, EXAMPLES, POSITIVES
from dtn_jax.metrics.gauc import GAUC, GAUC_GROUPS, GAUC_SKIPPED
from dtn_jax.metrics.log_loss import LOG_LOSS
from dtn_jax.metrics.metric import Metric, Rows, Value
from dtn_jax.metrics.regression import MAE, R2, RMSE

METRICS: dict[str, Metric] = {  # in the order of results.json and of tables
    "auc": AUC,
    "auc_se": AUC_SE,
    "gauc": GAUC,
    "gauc_groups": GAUC_GROUPS,
    "gauc_skipped": GAUC_SKIPPED,
    "average_precision": AVERAGE_PRECISION,
    "logloss": LOG_LOSS,
    "ece": ECE,
    "mean_prediction": MEAN_PREDICTION,
    "rmse": RMSE,
    "mae": MAE,
    "r2": R2,
    "base_rate": BASE_RATE,
    "positives": POSITIVES,
    "examples": EXAMPLES,
}
FIRST = ("auc", "r2")  # of a task the one that it has, where no metric is named


def measure(rows: Rows) -> dict[str, Value]:
    """{name: value} of every metric that such rows have.

    The arrays that the metrics of a binary task make beside their input stay within 32 bytes a row
    without weights (eight times float32 scores) and 64 with them, as long as there are two rows or
    more to a group.
    """
    grouped = rows.group is not None
    fitting = {name: m for name, m in METRICS.items() if m.fits(rows.kind, grouped)}
    return {name: metric.compute(rows) for name, metric in fitting.items()}
