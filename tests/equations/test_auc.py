"""AUC and average precision, against scikit-learn."""

import numpy as np
import pytest
import sklearn.metrics
from scored_rows import of_arrays, scored_rows

from dtn_jax.metrics import METRICS
from dtn_jax.metrics.auc import auc

average_precision = of_arrays(METRICS["average_precision"].compute)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ties", [False, True])
def test_auc(dtype, ties):
    logits, labels, weights = scored_rows(300, ties=ties)
    logits = logits.astype(dtype)
    for w in (None, weights):
        expected = sklearn.metrics.roc_auc_score(labels, logits, sample_weight=w)
        np.testing.assert_allclose(auc(logits, labels, w), expected, rtol=1e-10)
    assert auc(logits, labels, np.full(300, 1.0)) == auc(logits, labels)


@pytest.mark.nightly
@pytest.mark.parametrize("ties", [False, True])
def test_ten_million_rows_lose_no_digit(ties):
    logits, labels, _ = scored_rows(10**7, ties=ties)
    logits = logits.astype(np.float32)
    expected = sklearn.metrics.roc_auc_score(labels, logits)
    np.testing.assert_allclose(auc(logits, labels), expected, rtol=1e-12)
    expected = sklearn.metrics.average_precision_score(labels, logits)
    np.testing.assert_allclose(average_precision(logits, labels, None), expected, rtol=1e-9)


@pytest.mark.parametrize("weights", [None, np.ones(4)])
def test_negative_zero_ties_with_zero(weights):
    scores = np.array([-0.0, 0.0, 0.0, -0.0])
    assert auc(scores, np.array([1, 0, 1, 0]), weights) == 0.5


# Average precision.


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_average_precision_is_that_of_scikit_learn(ties, weighted):
    rng = np.random.default_rng(0)
    labels = rng.random(500) < 0.1
    scores = rng.normal(size=500) + labels
    scores = (np.round(scores, 1) if ties else scores).astype(np.float32)
    weights = rng.random(500) + 0.05 if weighted else None
    expected = sklearn.metrics.average_precision_score(labels, scores, sample_weight=weights)
    np.testing.assert_allclose(average_precision(scores, labels, weights), expected, rtol=1e-12)
