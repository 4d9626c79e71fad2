"""What a task's rows are: how many, how many positive, at which rate."""

from __future__ import annotations

import numpy as np

from dtn_jax.metrics.inputs import mean
from dtn_jax.metrics.metric import Metric

BASE_RATE = Metric(
    "base_rate",
    "base rate",  # weighted
    lambda rows: mean(rows.labels, rows.weights),
    format="%",
    column="base\nrate",
)
POSITIVES = Metric(
    "positives",
    "positives",  # rows, not their weight
    lambda rows: int(np.count_nonzero(rows.labels)),
    format=",d",
    column="posi-\ntives",
)
EXAMPLES = Metric(
    "examples",
    "examples",  # rows, not their weight
    lambda rows: int(rows.labels.size),
    format=",d",
    kinds=("binary", "regression"),
    column="exam-\nples",
)
