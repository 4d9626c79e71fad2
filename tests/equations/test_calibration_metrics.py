"""Calibration, log loss, normalised entropy and predicted over observed: against definitions,
scikit-learn and hand-computed numbers."""

import math

import numpy as np
import pytest
import sklearn.metrics
from scored_rows import of_arrays, scored_rows

from dtn_jax.metrics import Rows, calibration, measure
from dtn_jax.metrics import log_loss as losses
from dtn_jax.metrics.rates import wilson
from dtn_jax.metrics.sigmoid import sigmoid

log_loss = of_arrays(losses.log_loss)


def ece(p, labels, bins, weights=None):
    logits = np.log(p / (1 - p))
    return calibration.expected_calibration_error(
        Rows("binary", logits, labels, weights, bins=bins)
    )


def by_hand_bins(p, labels, bins, weights):
    """{bin: rows} from the definition: the middle of a value's span of cumulated weight."""
    rows = {}
    for value in sorted(set(p)):
        tied = np.flatnonzero(p == value)
        middle = weights[p < value].sum() + weights[tied].sum() / 2
        rows.setdefault(math.floor(bins * middle / weights.sum()), []).extend(tied)
    return rows


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_calibration_follows_its_definition(ties, weighted):
    logits, labels, weights = scored_rows(100, seed=3, ties=ties)
    w = weights if weighted else np.ones(100)
    p = sigmoid(logits)
    bins = by_hand_bins(p, labels, 7, w)
    gap = sum(abs((w[rows] * (p[rows] - labels[rows])).sum()) for rows in bins.values())
    given = weights if weighted else None
    error = ece(p, labels, 7, given)
    np.testing.assert_allclose(error, gap / w.sum(), rtol=1e-10)
    curve = calibration.calibration_curve(p, labels, 7, given)
    for k, b in enumerate(sorted(bins)):
        rows = bins[b]
        assert curve.count[k] == len(rows)
        expected = w[rows].sum() ** 2 / (w[rows] ** 2).sum()
        np.testing.assert_allclose(curve.effective[k], expected, rtol=1e-10)
        for got, values in ((curve.rate, labels), (curve.prediction, p)):
            expected = np.average(values[rows], weights=w[rows])
            np.testing.assert_allclose(got[k], expected, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(curve.base_rate, np.average(labels, weights=w), rtol=1e-10)
    if not ties and not weighted:
        assert np.ptp(curve.count) <= 1  # 100 examples in 7 bins: 14 or 15 each


# Log loss.


def test_log_loss():
    logits, labels, weights = scored_rows(300, seed=2)
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


# Ratios.


def predicted(rows=400):
    """Labels of other odds than the logits say."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=rows) - 1
    return logits, rng.random(rows) < sigmoid(0.5 * logits), rng.random(rows) + 0.05


@pytest.mark.parametrize("weighted", [False, True])
def test_ratios_to_the_base_rate(weighted):
    """Of the log loss, and of the sum of predictions to that of labels."""
    logits, labels, weights = predicted()
    w = weights if weighted else None
    got = measure(Rows("binary", logits, labels, w))
    constant = np.full(len(labels), np.average(labels, weights=w))
    losses = [
        sklearn.metrics.log_loss(labels, p, sample_weight=w) for p in (sigmoid(logits), constant)
    ]
    np.testing.assert_allclose(got["normalised_entropy"], losses[0] / losses[1], rtol=1e-12)
    expected = np.average(sigmoid(logits), weights=w) / constant[0]
    np.testing.assert_allclose(got["predicted_observed"], expected, rtol=1e-12)
    assert got["predicted_observed"] != pytest.approx(1, rel=0.05)
    base_rate = np.log(constant / (1 - constant))
    got = measure(Rows("binary", base_rate, labels, w))
    np.testing.assert_allclose(got["normalised_entropy"], 1, rtol=1e-12)
    np.testing.assert_allclose(got["predicted_observed"], 1, rtol=1e-12)


def test_wilson():
    # n = 10, p = 0, z = 2: centre 4/20 / (1 + 4/10) = 1/7, half width the same: [0, 2/7]
    # n = 4, p = 1/2, z = 2: centre (1/2 + 1/2) / 2 = 1/2; sqrt(1/16 + 4/64) 2 / 2 = 1/sqrt(8)
    low, high = wilson(np.array([0.0, 0.5]), np.array([10, 4]), z=2.0)
    np.testing.assert_allclose(low, [0, 0.5 - 8**-0.5], atol=1e-15)
    np.testing.assert_allclose(high, [2 / 7, 0.5 + 8**-0.5])
