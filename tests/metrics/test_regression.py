"""Metrics of a regression against scikit-learn and by hand."""

import math

import numpy as np
import sklearn.metrics

from dtn_jax.metrics import Rows, measure


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
