"""Metrics of a regression against scikit-learn and all pairs."""

import numpy as np
import pytest
import sklearn.metrics

from dtn_jax.metrics import Rows, measure
from dtn_jax.metrics import regression as xauc_file
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


def test_zeros_of_both_signs_are_equal_and_equal_labels_have_no_order():
    assert ordered(np.array([-0.0, 0.0]), np.array([1.0, 2])) == 0.5
    assert ordered(np.zeros(0), np.zeros(0)) is None
    assert ordered(np.arange(5.0), np.full(5, 0.1)) is None
    assert ordered(np.arange(3.0), np.array([1.0, 1, 2]), np.array([1.0, 1, 0])) is None
