"""Metrics of a regression task: RMSE, MAE, R²."""

from __future__ import annotations

import numpy as np

from dtn_jax.metrics.inputs import mean
from dtn_jax.metrics.metric import Metric, Rows


def squared_error(rows: Rows) -> float | None:
    """The (weighted) mean squared error; None without examples."""
    return mean((rows.scores.astype(np.float64) - rows.labels) ** 2, rows.weights)


def rmse(rows: Rows) -> float | None:
    """The root of the mean squared error, in the label's unit."""
    squared = rows.once(squared_error)
    return None if squared is None else float(np.sqrt(squared))


def mae(rows: Rows) -> float | None:
    """The mean absolute error, in the label's unit."""
    return mean(np.abs(rows.scores.astype(np.float64) - rows.labels), rows.weights)


def r2(rows: Rows) -> float | None:
    """1 - squared error / squared deviation from the (weighted) mean label; None for a constant
    label."""
    labels, weights = rows.labels, rows.weights
    if not labels.size or labels.min() == labels.max():
        return None
    deviation = labels - np.average(labels, weights=weights)
    return float(1 - rows.once(squared_error) / np.average(deviation**2, weights=weights))


KIND = ("regression",)
RMSE = Metric(
    "rmse",
    "RMSE",
    rmse,
    format=".4g",
    kinds=KIND,
    higher_is_better=False,
    selectable=True,
    column="RMSE",
)
MAE = Metric(
    "mae",
    "MAE",
    mae,
    format=".4g",
    kinds=KIND,
    higher_is_better=False,
    selectable=True,
    column="MAE",
)
R2 = Metric("r2", "R²", r2, kinds=KIND, higher_is_better=True, selectable=True, column="R²")
