"""AUC, exact and by thresholds, and average precision: against scikit-learn and TensorFlow's
definition."""

import itertools

import numpy as np
import pytest
import sklearn.metrics
from scored_rows import of_arrays, scored_rows

from dtn_jax.field import Field
from dtn_jax.metrics import METRICS
from dtn_jax.metrics import auc as curves
from dtn_jax.metrics.auc import auc
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.run.evaluate import evaluate
from dtn_jax.schema import Schema, Task

auc_standard_error = of_arrays(METRICS["auc_se"].compute)
average_precision = of_arrays(METRICS["average_precision"].compute)
threshold_auc = of_arrays(curves.threshold_auc)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ties", [False, True])
def test_auc(dtype, ties):
    logits, labels, weights = scored_rows(300, ties=ties)
    logits = logits.astype(dtype)
    for w in (None, weights):
        expected = sklearn.metrics.roc_auc_score(labels, logits, sample_weight=w)
        np.testing.assert_allclose(auc(logits, labels, w), expected, rtol=1e-10)
    assert auc(logits, labels, np.full(300, 1.0)) == auc(logits, labels)


@pytest.mark.parametrize("weights", [None, np.ones(4)])
def test_negative_zero_ties_with_zero(weights):
    scores = np.array([-0.0, 0.0, 0.0, -0.0])
    assert auc(scores, np.array([1, 0, 1, 0]), weights) == 0.5


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


# AUC by thresholds.


def calibrated(rows, rate_logit=0.0, scale=1.5, seed=0):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.normal(size=rows) + rate_logit).astype(np.float32)
    return logits, rng.random(rows) < sigmoid(logits), rng.random(rows) + 0.05


def by_definition(logits, labels, weights):
    """Counts of true and false positives at each threshold, and trapezoids between them."""
    p = (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
    thresholds = [0.0 - 1e-7, *((i + 1) / 199 for i in range(198)), 1.0 + 1e-7]
    curve = []
    for threshold in thresholds:
        predicted = p > np.float32(threshold)
        tp, fn = (weights[labels & mask].sum() for mask in (predicted, ~predicted))
        fp, tn = (weights[~labels & mask].sum() for mask in (predicted, ~predicted))
        curve.append((fp / (fp + tn + 1e-6), (tp + 1e-6) / (tp + fn + 1e-6)))
    assert len(curve) == 200
    steps = itertools.pairwise(curve)
    return sum((x - next_x) * (y + next_y) / 2 for (x, y), (next_x, next_y) in steps)


@pytest.mark.parametrize("rate_logit", [0.0, -6.0, 4.0])
def test_by_thresholds_it_is_what_tensorflow_computes(rate_logit):
    logits, labels, weights = calibrated(5_000, rate_logit)
    for own in (None, weights):
        expected = by_definition(logits, labels, np.ones(5_000) if own is None else own)
        assert threshold_auc(logits, labels, own) == pytest.approx(expected, abs=1e-12)


def test_a_score_on_a_threshold_does_not_pass_it():
    # Thresholds 0, 1/2 and 1; p = 1/2 counts with what is below, and so the pair is a tie.
    scores, labels = np.array([0.0, -1.0], np.float32), np.array([True, False])
    assert threshold_auc(scores, labels, count=3) == pytest.approx(0.5, abs=1e-5)
    assert threshold_auc(scores + np.float32(0.1), labels, count=3) == pytest.approx(1, abs=1e-5)


def test_one_class_has_no_auc():
    assert threshold_auc(np.zeros(3, np.float32), np.ones(3, bool)) is None
    assert threshold_auc(np.zeros(3, np.float32), np.zeros(3, bool)) is None


def test_by_thresholds_it_is_there_where_asked_for_and_on_all_rows_alone():
    tasks = (Task("click"), Task("order", also_report=("click",)))
    schema = Schema("x", (Field("f"),), tasks)
    logits, clicks, _ = calibrated(2_000, rate_logit=-1.0)
    orders = clicks & (np.arange(2_000) % 3 == 0)
    scores = Scores(
        logits=np.stack([logits, logits - 1], axis=1),
        labels=np.stack([clicks, orders], axis=1).astype(np.float32),
        label_mask=np.ones((2_000, 2), bool),
        sample_weight=np.ones(2_000, np.float32),
    )
    plain = evaluate(scores, schema, 15, False)
    asked = evaluate(scores, schema, 15, False, {"click": 0.0, "order": np.log(3000.0)})
    assert not any("threshold_auc" in found for found in plain.values())
    moved = logits - 1 + np.float32(np.log(3000.0))
    assert asked["click@all"]["threshold_auc"] == threshold_auc(logits, clicks)
    assert asked["order@all"]["threshold_auc"] == threshold_auc(moved, orders)
    assert "threshold_auc" not in asked["order@click"]
    for key, found in asked.items():
        assert {n: v for n, v in found.items() if n != "threshold_auc"} == plain[key]
    assert METRICS["threshold_auc"].judges  # so that tables show it
