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
from dtn_jax.metrics.lists import LIST_GROUPS, LIST_SKIPPED
from dtn_jax.metrics.log_loss import LOG_LOSS
from dtn_jax.metrics.metric import Metric, Rows, Value
from dtn_jax.metrics.mrr import MRR
from dtn_jax.metrics.ndcg import NDCG_AT_5, NDCG_AT_10
from dtn_jax.metrics.normalised_entropy import NORMALISED_ENTROPY
from dtn_jax.metrics.predicted_observed import PREDICTED_OBSERVED
from dtn_jax.metrics.recall_at_k import RECALL_AT_5, RECALL_AT_10
from dtn_jax.metrics.regression import MAE, R2, RMSE
from dtn_jax.metrics.threshold_auc import THRESHOLD_AUC
from dtn_jax.metrics.xauc import XAUC

METRICS: dict[str, Metric] = {  # in the order of results.json and of tables
    "auc": AUC,
    "auc_se": AUC_SE,
    "threshold_auc": THRESHOLD_AUC,
    "gauc": GAUC,
    "gauc_groups": GAUC_GROUPS,
    "gauc_skipped": GAUC_SKIPPED,
    "ndcg_at_5": NDCG_AT_5,
    "ndcg_at_10": NDCG_AT_10,
    "mrr": MRR,
    "recall_at_5": RECALL_AT_5,
    "recall_at_10": RECALL_AT_10,
    "list_groups": LIST_GROUPS,
    "list_skipped": LIST_SKIPPED,
    "average_precision": AVERAGE_PRECISION,
    "logloss": LOG_LOSS,
    "normalised_entropy": NORMALISED_ENTROPY,
    "ece": ECE,
    "predicted_observed": PREDICTED_OBSERVED,
    "mean_prediction": MEAN_PREDICTION,
    "xauc": XAUC,
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
    more to a group and, without weights, half of the rows or fewer are positive (48 bytes
    otherwise). Those of a regression, its labels in float64 among them, stay within 80 and 104.
    """
    grouped = rows.group is not None
    fitting = {name: m for name, m in METRICS.items() if m.fits(rows.kind, grouped)}
    if rows.inflation is not None:
        fitting |= {name: m for name, m in METRICS.items() if m.asked}
    return {name: metric.compute(rows) for name, metric in fitting.items()}
