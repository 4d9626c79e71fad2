"""Normalised entropy and predicted over observed, against scikit-learn and polars."""

import numpy as np
import polars as pl
import pytest
import sklearn.metrics

from dtn_jax.metrics import Rows, measure
from dtn_jax.metrics.sigmoid import sigmoid


def example(rows=400):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=rows) - 1
    return logits, rng.random(rows) < sigmoid(0.5 * logits), rng.random(rows) + 0.05


@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_log_loss_over_that_of_the_base_rate(weighted):
    logits, labels, weights = example()
    w = weights if weighted else None
    got = measure(Rows("binary", logits, labels, w))
    constant = np.full(len(labels), np.average(labels, weights=w))
    losses = [
        sklearn.metrics.log_loss(labels, p, sample_weight=w) for p in (sigmoid(logits), constant)
    ]
    np.testing.assert_allclose(got["normalised_entropy"], losses[0] / losses[1], rtol=1e-12)
    base_rate = np.log(constant / (1 - constant))
    got = measure(Rows("binary", base_rate, labels, w))
    np.testing.assert_allclose(got["normalised_entropy"], 1, rtol=1e-12)
    np.testing.assert_allclose(got["predicted_observed"], 1, rtol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_predicted_is_the_sum_of_predictions_over_that_of_labels(weighted):
    logits, labels, weights = example()
    table = pl.DataFrame({"p": sigmoid(logits), "y": labels * 1.0, "w": weights if weighted else 1})
    sums = table.select((pl.col(name) * pl.col("w")).sum() for name in "py").row(0)
    got = measure(Rows("binary", logits, labels, weights if weighted else None))
    np.testing.assert_allclose(got["predicted_observed"], sums[0] / sums[1], rtol=1e-12)
    assert got["predicted_observed"] != pytest.approx(1, rel=0.05)


def test_one_class():
    got = measure(Rows("binary", np.zeros(3), np.zeros(3)))
    assert (got["normalised_entropy"], got["predicted_observed"]) == (None, None)
    got = measure(Rows("binary", np.zeros(3), np.ones(3)))
    assert (got["normalised_entropy"], got["predicted_observed"]) == (None, 0.5)
    got = measure(Rows("binary", np.zeros(0), np.zeros(0)))
    assert (got["normalised_entropy"], got["predicted_observed"]) == (None, None)
