"""AUC against scikit-learn, brute force over pairs, and hand-computed numbers."""

import numpy as np
import pytest
import sklearn.metrics

from dtn_jax.metrics.auc import auc, auc_standard_error
from dtn_jax.metrics.sigmoid import sigmoid


def example(rows, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=rows) - 1
    if ties:
        logits = np.round(logits)
    labels = (rng.random(rows) < sigmoid(0.8 * logits)).astype(np.float32)
    return logits, labels, rng.random(rows) + 0.05


def pairs(scores, labels, weights):
    """AUC by comparing every positive with every negative."""
    won = (scores[:, None] > scores) + 0.5 * (scores[:, None] == scores)
    weight = np.outer(weights * (labels == 1), weights * (labels == 0))
    return (won * weight).sum() / weight.sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ties", [False, True])
def test_auc(dtype, ties):
    logits, labels, weights = example(300, ties=ties)
    logits = logits.astype(dtype)
    for w in (None, weights):
        expected = sklearn.metrics.roc_auc_score(labels, logits, sample_weight=w)
        np.testing.assert_allclose(auc(logits, labels, w), expected, rtol=1e-10)
        brute = pairs(logits, labels, np.ones(300) if w is None else w)
        np.testing.assert_allclose(auc(logits, labels, w), brute, rtol=1e-10)
    assert auc(logits, labels, np.full(300, 1.0)) == auc(logits, labels)


def test_auc_by_hand():
    # positives 3, 2; negatives 2, 1: pairs 3>2, 3>1, 2=2, 2>1 are 1 + 1 + 1/2 + 1 of 4
    scores, labels = np.array([3.0, 2, 2, 1]), np.array([1, 1, 0, 0])
    assert auc(scores, labels) == 3.5 / 4
    # weights 1, 2 (positives), 3, 5: 1*3 + 1*5 + 2*3/2 + 2*5 = 21 of (1 + 2) * (3 + 5) = 24
    assert auc(scores, labels, np.array([1.0, 2, 3, 5])) == 21 / 24
    assert auc(-scores, labels) == 0.5 / 4
    assert auc(np.zeros(4), labels) == 0.5


@pytest.mark.parametrize("weights", [None, np.ones(4)])
def test_negative_zero_ties_with_zero(weights):
    scores = np.array([-0.0, 0.0, 0.0, -0.0])
    assert auc(scores, np.array([1, 0, 1, 0]), weights) == 0.5


def test_auc_ignores_increasing_maps_and_order_of_rows():
    logits, labels, _ = example(200, seed=1)
    expected = auc(logits, labels)
    assert auc(np.exp(logits), labels) == expected
    order = np.random.default_rng(0).permutation(200)
    assert auc(logits[order], labels[order]) == expected


def test_the_standard_error_is_the_spread_over_samples():
    """Against the spread of the AUC over fresh samples, and by the definition on a few rows."""
    rng = np.random.default_rng(0)

    def sample():
        labels = rng.random(400) < 0.2
        return np.round(rng.normal(size=400) + labels, 1), labels

    drawn = [sample() for _ in range(400)]
    spread = np.std([auc(*pair) for pair in drawn])
    mean = np.mean([auc_standard_error(*pair) for pair in drawn])
    np.testing.assert_allclose(mean, spread, rtol=0.1)
    # positives 3, 1 and negatives 2, 1, 0: a = (1, 1/2), b = (1/2, 3/4, 1)
    scores, labels = np.array([3.0, 1, 2, 1, 0]), np.array([1, 1, 0, 0, 0])
    expected = np.sqrt(0.125 / 2 + 0.0625 / 3)
    np.testing.assert_allclose(auc_standard_error(scores, labels), expected)
    assert auc_standard_error(scores[1:], labels[1:]) is None
