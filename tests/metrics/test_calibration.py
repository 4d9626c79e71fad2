"""Calibration against its definition and hand-computed numbers."""

import math

import numpy as np
import pytest

from dtn_jax.metrics import calibration
from dtn_jax.metrics.sigmoid import sigmoid


def example(rows, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=rows) - 1
    if ties:
        logits = np.round(logits)
    labels = (rng.random(rows) < sigmoid(0.8 * logits)).astype(np.float32)
    return logits, labels, rng.random(rows) + 0.05


def by_hand_bins(p, labels, bins, weights):
    """{bin: rows} from the definition: the middle of a value's span of cumulated weight."""
    rows = {}
    for value in sorted(set(p)):
        tied = np.flatnonzero(p == value)
        middle = weights[p < value].sum() + weights[tied].sum() / 2
        rows.setdefault(math.floor(bins * middle / weights.sum()), []).extend(tied)
    return rows


def test_calibration_by_hand():
    # 4 examples, 2 bins: (.1, 0), (.2, 1) and (.6, 1), (.9, 1)
    # means .15 and .75, rates .5 and 1: ece = (2 * .35 + 2 * .25) / 4 = .3
    p, labels = np.array([0.9, 0.1, 0.6, 0.2]), np.array([1, 0, 1, 1])
    curve = calibration.calibration_curve(p, labels, 2)
    np.testing.assert_allclose(curve.prediction, [0.15, 0.75])
    np.testing.assert_allclose(curve.rate, [0.5, 1])
    np.testing.assert_array_equal(curve.count, [2, 2])
    np.testing.assert_allclose(calibration.expected_calibration_error(p, labels, 2), 0.3)
    # one bin: |.45 - .75|; four bins: (.1 + .8 + .4 + .1) / 4
    np.testing.assert_allclose(calibration.expected_calibration_error(p, labels, 1), 0.3)
    np.testing.assert_allclose(calibration.expected_calibration_error(p, labels, 4), 0.35)


def test_tied_predictions_share_a_bin():
    # the six .5 span ranks 1..7 of 8, middle 4: bin floor(4 * 4 / 8) = 2; .1 to 0, .9 to 3
    p = np.array([0.1, *[0.5] * 6, 0.9])
    curve = calibration.calibration_curve(p, np.array([0, 1, 0, 1, 0, 1, 0, 1]), 4)
    np.testing.assert_array_equal(curve.count, [1, 6, 1])
    np.testing.assert_allclose(curve.rate, [0, 0.5, 1])
    # a constant prediction: one bin, so the error is |mean - rate|
    error = calibration.expected_calibration_error(np.full(10, 0.3), np.arange(10) < 4, 15)
    np.testing.assert_allclose(error, 0.1)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_calibration_follows_its_definition(ties, weighted):
    logits, labels, weights = example(100, seed=3, ties=ties)
    w = weights if weighted else np.ones(100)
    p = sigmoid(logits)
    bins = by_hand_bins(p, labels, 7, w)
    gap = sum(abs((w[rows] * (p[rows] - labels[rows])).sum()) for rows in bins.values())
    given = weights if weighted else None
    error = calibration.expected_calibration_error(p, labels, 7, given)
    np.testing.assert_allclose(error, gap / w.sum(), rtol=1e-10)
    curve = calibration.calibration_curve(p, labels, 7, given)
    for k, b in enumerate(sorted(bins)):
        rows = bins[b]
        assert curve.count[k] == len(rows)
        np.testing.assert_allclose(curve.weight[k], w[rows].sum(), rtol=1e-10)
        expected = w[rows].sum() ** 2 / (w[rows] ** 2).sum()
        np.testing.assert_allclose(curve.effective[k], expected, rtol=1e-10)
        expected = np.average(labels[rows], weights=w[rows])
        np.testing.assert_allclose(curve.rate[k], expected, rtol=1e-10, atol=1e-15)
    if not ties and not weighted:
        assert np.ptp(curve.count) <= 1  # 100 examples in 7 bins: 14 or 15 each


@pytest.mark.parametrize("rate", [0.01, 0.45])
def test_histogram_holds_every_prediction(rate):
    rng = np.random.default_rng(4)
    labels = (rng.random(2000) < rate).astype(float)
    p = np.clip(rng.beta(2, 2 / rate - 2, size=2000), 0, 1)
    p[0] = 0.0
    weights = rng.random(2000) + 0.1
    curve = calibration.calibration_curve(p, labels, 10, weights)
    np.testing.assert_allclose(curve.histogram.sum(), weights.sum(), rtol=1e-10)
    np.testing.assert_allclose(curve.base_rate, np.average(labels, weights=weights), rtol=1e-10)
    ratios = curve.edges[2:] / curve.edges[1:-1]
    assert np.allclose(ratios, ratios[0]) == (rate < calibration.LOW_RATE)
