"""XAUC against all pairs, and against Kendall's tau where nothing ties."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from dtn_jax.metrics import Rows
from dtn_jax.metrics import xauc as xauc_file
from dtn_jax.metrics.auc import auc
from dtn_jax.metrics.xauc import xauc


def measured(scores, labels, weights=None):
    return xauc(Rows("regression", scores, labels, weights))


def over_pairs(scores, labels, weights):
    """The definition, pair by pair."""
    w = np.ones(len(scores)) if weights is None else weights
    pairs = w[:, None] * w * (labels[:, None] > labels)
    won = (scores[:, None] > scores) + (scores[:, None] == scores) / 2
    return (pairs * won).sum() / pairs.sum()


@pytest.mark.parametrize("rows", [2, 3, 8, 9, 64, 500])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_share_of_pairs_in_order(rows, ties, weighted, dtype, monkeypatch):
    rng = np.random.default_rng(rows)
    labels = rng.exponential(30, rows)
    scores = (labels + 30 * rng.normal(size=rows)).astype(dtype)
    if ties:
        scores, labels = np.round(scores / 30), np.round(labels / 20)
        labels[0] = 99  # two values at least
    weights = rng.random(rows) + 0.05 if weighted else None
    expected = over_pairs(scores, labels, weights)
    for block in (16, 5, 1):
        monkeypatch.setattr(xauc_file, "BLOCK", block)
        got = measured(scores, labels, weights)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)


def test_without_ties_it_is_kendall_s_tau():
    rng = np.random.default_rng(0)
    labels = rng.normal(size=50_000)
    scores = labels + rng.normal(size=50_000)
    tau = kendalltau(scores, labels).statistic
    np.testing.assert_allclose(measured(scores, labels), (1 + tau) / 2, rtol=1e-13)


def test_of_two_labels_it_is_the_auc():
    rng = np.random.default_rng(1)
    labels, scores = rng.random(3000) < 0.2, rng.normal(size=3000).round(1)
    weights = rng.random(3000)
    for w in (None, weights):
        np.testing.assert_allclose(
            measured(scores, labels * 1.0, w), auc(scores, labels, w), rtol=1e-13
        )


def test_the_order_of_rows_and_a_rising_function_change_nothing():
    rng = np.random.default_rng(2)
    scores, labels = rng.normal(size=(2, 700)).round(1)
    expected, order = measured(scores, labels), rng.permutation(700)
    assert measured(np.exp(scores)[order], 2 * labels[order] + 5) == expected
    np.testing.assert_allclose(measured(-scores, labels), 1 - expected, rtol=1e-13)
    assert measured(labels, labels) == 1
    assert measured(np.zeros(700), labels) == 0.5
    assert measured(np.array([-0.0, 0.0]), np.array([1.0, 2])) == 0.5


def test_equal_labels_have_no_order():
    assert measured(np.zeros(0), np.zeros(0)) is None
    assert measured(np.arange(5.0), np.full(5, 0.1)) is None
    assert measured(np.arange(3.0), np.array([1.0, 1, 2]), np.array([1.0, 1, 0])) is None
