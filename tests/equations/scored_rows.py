"""Scores, labels and weights of random rows, for the tests of metrics."""

import numpy as np

from dtn_jax.metrics import Rows
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.metrics.within_groups import gauc


def of_arrays(metric):
    """A metric of a binary task, as a function of (scores, labels, weights)."""
    return lambda *arrays, **how: metric(Rows("binary", *arrays), **how)


def gauc_of(scores, labels, group, weights=None):
    return gauc(Rows("binary", scores, labels, weights, group))


def scored_rows(rows, seed=0, ties=False):
    """(logits, labels, weights), each `[rows]`; with `ties` logits are whole numbers."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=rows) - 1
    if ties:
        logits = np.round(logits)
    labels = (rng.random(rows) < sigmoid(0.8 * logits)).astype(np.float32)
    return logits, labels, rng.random(rows) + 0.05
