"""Log loss against scikit-learn, and where scikit-learn clips."""

import math

import numpy as np
import sklearn.metrics

from dtn_jax.metrics.log_loss import log_loss
from dtn_jax.metrics.sigmoid import sigmoid


def example(rows, seed):
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=rows) - 1
    labels = (rng.random(rows) < sigmoid(0.8 * logits)).astype(np.float32)
    return logits, labels, rng.random(rows) + 0.05


def test_log_loss():
    logits, labels, weights = example(300, seed=2)
    for w in (None, weights):
        expected = sklearn.metrics.log_loss(labels, sigmoid(logits), sample_weight=w)
        np.testing.assert_allclose(log_loss(logits, labels, w), expected, rtol=1e-10)


def test_log_loss_does_not_clip_or_overflow():
    # certain and wrong costs |z|; certain and right exp(-|z|)
    assert log_loss(np.array([-1000.0, 1000.0]), np.array([1, 0])) == 1000
    np.testing.assert_allclose(
        log_loss(np.array([50.0, -50.0]), np.array([1, 0])), math.exp(-50), rtol=1e-10
    )
    np.testing.assert_allclose(log_loss(np.zeros(3), np.ones(3)), math.log(2), rtol=1e-15)


def test_float32_logits_are_summed_in_float64():
    logits = np.full(1_000_000, 0.1, np.float32)
    expected = math.log1p(math.exp(float(np.float32(0.1))))
    np.testing.assert_allclose(log_loss(logits, np.zeros(10**6)), expected, rtol=1e-12)
