"""AUC by thresholds against its definition, counted example by example, and the exact AUC."""

import itertools

import numpy as np
import pytest

from dtn_jax.evaluate import evaluate
from dtn_jax.field import Field
from dtn_jax.metrics import METRICS
from dtn_jax.metrics.auc import auc
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.metrics.threshold_auc import threshold_auc
from dtn_jax.schema import Schema, Task


def example(rows, rate_logit=0.0, scale=1.5, seed=0):
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
def test_it_is_what_tensorflow_computes(rate_logit):
    logits, labels, weights = example(5_000, rate_logit)
    for own in (None, weights):
        expected = by_definition(logits, labels, np.ones(5_000) if own is None else own)
        assert threshold_auc(logits, labels, own) == pytest.approx(expected, abs=1e-12)


def test_it_is_near_the_exact_auc_where_scores_are_spread():
    logits, labels, _ = example(50_000)
    # Pairs between two thresholds count half: the error is at most half their share.
    places = (sigmoid(logits) * 199).astype(int)
    shares = [np.bincount(places[labels == own], minlength=200) / (labels == own).sum()
              for own in (True, False)]  # fmt: skip
    bound = shares[0] @ shares[1] / 2
    assert bound < 0.005
    assert threshold_auc(logits, labels) == pytest.approx(auc(logits, labels), abs=bound)
    assert threshold_auc(logits, labels, count=20_000) == pytest.approx(
        auc(logits, labels), abs=1e-4
    )


def test_it_is_too_low_where_positive_weights_push_scores_to_1():
    logits, labels, _ = example(200_000, rate_logit=-3.2)
    labels_known = auc(logits, labels)
    off = [labels_known - threshold_auc(logits + np.float32(np.log(w)), labels)
           for w in (1, 200, 3_000)]  # fmt: skip
    assert abs(off[0]) < 0.01
    assert off[2] > 0.05
    assert off[2] > off[1] > off[0]


@pytest.mark.parametrize(("rate_logit", "weight"), [(-3.35, 200), (-8.7, 3_000)])
def test_at_ali_ccps_rates_the_released_weights_make_it_good(rate_logit, weight):
    logits, labels, _ = example(500_000, rate_logit, scale=0.7)
    moved = logits + np.float32(np.log(weight))
    assert threshold_auc(moved, labels) == pytest.approx(auc(logits, labels), abs=0.001)
    if weight == 3_000:  # without them nearly all conversions are below the second threshold
        assert threshold_auc(logits, labels) < 0.51 < 0.6 < auc(logits, labels)


def test_a_score_on_a_threshold_does_not_pass_it():
    # Thresholds 0, 1/2 and 1; p = 1/2 counts with what is below, and so the pair is a tie.
    scores, labels = np.array([0.0, -1.0], np.float32), np.array([True, False])
    assert threshold_auc(scores, labels, count=3) == pytest.approx(0.5, abs=1e-5)
    assert threshold_auc(scores + np.float32(0.1), labels, count=3) == pytest.approx(1, abs=1e-5)


def test_one_class_has_none():
    assert threshold_auc(np.zeros(3, np.float32), np.ones(3, bool)) is None
    assert threshold_auc(np.zeros(3, np.float32), np.zeros(3, bool)) is None


def test_it_is_there_where_asked_for_and_on_all_rows_alone():
    tasks = (Task("click"), Task("order", also_report=("click",)))
    schema = Schema("x", (Field("f"),), tasks)
    logits, clicks, _ = example(2_000, rate_logit=-1.0)
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
