"""Metrics of a regression against scikit-learn, all pairs, and by hand."""

import math

import numpy as np
import pytest
import sklearn.metrics

from dtn_jax.metrics import Rows, measure
from dtn_jax.metrics import regression as xauc_file
from dtn_jax.metrics.auc import auc
from dtn_jax.metrics.regression import xauc


def measured(predictions, labels, weights=None):
    return measure(Rows("regression", predictions, labels, weights))


def test_regression_metrics():
    rng = np.random.default_rng(7)
    labels = rng.normal(size=100)
    predictions, weights = labels + 0.3 * rng.normal(size=100), rng.random(100)
    for w in (None, weights):
        got = measured(predictions, labels, w)
        arguments = {"y_true": labels, "y_pred": predictions, "sample_weight": w}
        for name, function in (
            ("rmse", sklearn.metrics.root_mean_squared_error),
            ("mae", sklearn.metrics.mean_absolute_error),
            ("r2", sklearn.metrics.r2_score),
        ):
            np.testing.assert_allclose(got[name], function(**arguments), rtol=1e-10)
    # errors 1, -1, 2; squares 1 + 1 + 4; labels 0, 2, 4 deviate by 4 + 0 + 4
    got = measured(np.array([1.0, 1, 6]), np.array([0.0, 2, 4]))
    np.testing.assert_allclose(got["rmse"], math.sqrt(2))
    np.testing.assert_allclose(got["mae"], 4 / 3)
    np.testing.assert_allclose(got["r2"], 1 - 6 / 8)


def test_r2_of_a_constant_label_is_not_defined():
    got = measured(np.arange(7.0), np.full(7, 0.1))
    assert got["r2"] is None
    assert got["rmse"] > 0


# XAUC.


def ordered(scores, labels, weights=None):
    return xauc(Rows("regression", scores, labels, weights))


def over_pairs(scores, labels, weights):
    """The definition, pair by pair."""
    w = np.ones(len(scores)) if weights is None else weights
    pairs = w[:, None] * w * (labels[:, None] > labels)
    won = (scores[:, None] > scores) + (scores[:, None] == scores) / 2
    return (pairs * won).sum() / pairs.sum()


@pytest.mark.parametrize("rows", [2, 3, 9, 500])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_xauc_is_the_share_of_pairs_in_order(rows, ties, weighted, monkeypatch):
    rng = np.random.default_rng(rows)
    labels = rng.exponential(30, rows)
    scores = (labels + 30 * rng.normal(size=rows)).astype(np.float32)
    if ties:
        scores, labels = np.round(scores / 30), np.round(labels / 20)
        labels[0] = 99  # two values at least
    weights = rng.random(rows) + 0.05 if weighted else None
    expected = over_pairs(scores, labels, weights)
    for block in (16, 5, 1):
        monkeypatch.setattr(xauc_file, "BLOCK", block)
        got = ordered(scores, labels, weights)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)


def test_of_two_labels_xauc_is_the_auc():
    rng = np.random.default_rng(1)
    labels, scores = rng.random(3000) < 0.2, rng.normal(size=3000).round(1)
    weights = rng.random(3000)
    for w in (None, weights):
        np.testing.assert_allclose(
            ordered(scores, labels * 1.0, w), auc(scores, labels, w), rtol=1e-13
        )


def test_the_order_of_rows_and_a_rising_function_change_no_xauc():
    rng = np.random.default_rng(2)
    scores, labels = rng.normal(size=(2, 700)).round(1)
    expected, order = ordered(scores, labels), rng.permutation(700)
    assert ordered(np.exp(scores)[order], 2 * labels[order] + 5) == expected
    np.testing.assert_allclose(ordered(-scores, labels), 1 - expected, rtol=1e-13)
    assert ordered(labels, labels) == 1
    assert ordered(np.zeros(700), labels) == 0.5
    assert ordered(np.array([-0.0, 0.0]), np.array([1.0, 2])) == 0.5


def test_equal_labels_have_no_order():
    assert ordered(np.zeros(0), np.zeros(0)) is None
    assert ordered(np.arange(5.0), np.full(5, 0.1)) is None
    assert ordered(np.arange(3.0), np.array([1.0, 1, 2]), np.array([1.0, 1, 0])) is None
