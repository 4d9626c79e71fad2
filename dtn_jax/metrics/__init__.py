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

from dtn_jax.metrics import auc, calibration, log_loss, rates, regression, within_groups
from dtn_jax.metrics.influence import Influence, Units
from dtn_jax.metrics.metric import Metric, Rows, Value

METRICS: dict[str, Metric] = {  # in the order of results.json and of tables
    "auc": auc.AUC,
    "gauc": within_groups.GAUC,
    "gauc_groups": within_groups.GAUC_GROUPS,
    "gauc_skipped": within_groups.GAUC_SKIPPED,
    "ndcg_at_5": within_groups.NDCG_AT_5,
    "ndcg_at_10": within_groups.NDCG_AT_10,
    "mrr": within_groups.MRR,
    "recall_at_5": within_groups.RECALL_AT_5,
    "recall_at_10": within_groups.RECALL_AT_10,
    "average_precision": auc.AVERAGE_PRECISION,
    "logloss": log_loss.LOG_LOSS,
    "normalised_entropy": log_loss.NORMALISED_ENTROPY,
    "ece": calibration.ECE,
    "predicted_observed": rates.PREDICTED_OBSERVED,
    "mean_prediction": rates.MEAN_PREDICTION,
    "xauc": regression.XAUC,
    "rmse": regression.RMSE,
    "mae": regression.MAE,
    "r2": regression.R2,
    "base_rate": rates.BASE_RATE,
    "positives": rates.POSITIVES,
    "examples": rates.EXAMPLES,
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
    return {name: metric.compute(rows) for name, metric in fitting.items()}


def influences(rows: Rows, units: Units) -> dict[str, Influence]:
    """{metric: its value and influences}, of those that such rows have and that have influences.

    Args:
      rows: those of a task in a space.
      units: theirs.
    """
    grouped = rows.group is not None
    fitting = {n: m for n, m in METRICS.items() if m.influence and m.fits(rows.kind, grouped)}
    return {name: metric.influence(rows, units) for name, metric in fitting.items()}
