"""From logits to probabilities; alone, since metrics of one's own and loaded models import it."""

from __future__ import annotations

import numpy as np

from dtn_jax.metrics.inputs import chunks
from dtn_jax.metrics.metric import Rows
from dtn_jax.shapes import Float


def sigmoid(logits: Float[np.ndarray, " B"]) -> Float[np.ndarray, " B"]:
    """1 / (1 + exp(-z)) in float64, without overflow."""
    probabilities = np.empty(logits.shape)
    for at in chunks(logits.size):
        probabilities[at] = np.exp(-np.logaddexp(0.0, -logits[at].astype(np.float64)))
    return probabilities


def probabilities_of(rows: Rows) -> Float[np.ndarray, " B"]:
    """Of the rows of a binary task; metrics take it by `rows.once(probabilities_of)`."""
    return sigmoid(rows.scores)
