"""Metrics of graded gains: those of labels where gains are 0 and 1, and their definitions."""

import itertools

import numpy as np
import pytest

from dtn_jax.metrics.gains import Gains, labels_of
from dtn_jax.metrics.influence import Units, influences
from dtn_jax.metrics.metric import Rows
from dtn_jax.metrics.scores import Scores
from dtn_jax.schema import Field, Schema, Task

N = 600


def drawn(seed=0):
    """Scores with ties, groups, weights."""
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(size=N), 1), rng.integers(0, 60, N), rng.random(N) + 0.1, rng


@pytest.mark.parametrize("weighted", [False, True])
def test_gains_of_0_and_1_are_labels(weighted):
    scores, group, weights, rng = drawn()
    weights = weights if weighted else None
    labels, places = (rng.random(N) < 0.2).astype(float), np.arange(N)
    units = Units(N, group)
    gains = Gains(labels, places, units, group, weights)
    expected = influences(Rows("binary", scores, labels, weights, group), places, units)
    found = gains.influences(scores)
    assert tuple(found) == gains.metrics
    for name, own in found.items():
        assert own.value == pytest.approx(expected[name].value, abs=1e-12)
        assert gains.value(name, scores) == pytest.approx(own.value, abs=1e-12)
        np.testing.assert_allclose(own.units, expected[name].units, rtol=0, atol=1e-12)
        np.testing.assert_allclose(own.share, expected[name].share, rtol=0, atol=1e-12)


def test_lists_of_graded_gains_by_their_definition():
    """The mean over all orders of equal scores, of a group of six."""
    scores, gain = np.array([2.0, 1, 1, 1, 0, 0]), np.array([0.0, 5, 1, 0, 6, 0])
    gains = Gains(gain, np.arange(6), Units(6, None), np.zeros(6, int))
    discount = 1 / np.log2(np.arange(6) + 2)
    orders = [o for o in itertools.permutations(range(6)) if (np.diff(scores[[*o]]) <= 0).all()]
    ideal = np.sort(gain)[::-1]
    ndcg = np.mean([gain[[*o]][:5] @ discount[:5] for o in orders]) / (ideal[:5] @ discount[:5])
    recall = np.mean([gain[[*o]][:5].sum() for o in orders]) / gain.sum()
    assert gains.value("ndcg_at_5", scores) == pytest.approx(ndcg)
    assert gains.value("recall_at_5", scores) == pytest.approx(recall)


def test_auc_of_graded_gains_by_its_definition():
    scores, group, _, rng = drawn(1)
    gain = rng.integers(0, 4, N).astype(float)
    won = (scores[:, None] > scores) + 0.5 * (scores[:, None] == scores)
    share = gain / gain.max()
    pairs = share[:, None] * (1 - share)
    gains = Gains(gain, np.arange(N), Units(N, group), group)
    assert gains.value("auc", scores) == pytest.approx((won * pairs).sum() / pairs.sum())
    within = [(group == g) for g in np.unique(group)]
    each = [
        (won * pairs)[np.ix_(g, g)].sum() / pairs[np.ix_(g, g)].sum()
        for g in within
        if pairs[np.ix_(g, g)].any()
    ]
    sizes = [g.sum() for g in within if pairs[np.ix_(g, g)].any()]
    assert gains.value("gauc", scores) == pytest.approx(np.average(each, weights=sizes))


def test_no_gain_has_no_metric():
    scores, group, *_ = drawn()
    gains = Gains(np.zeros(N), np.arange(N), Units(N, group), group)
    assert [gains.value(name, scores) for name in gains.metrics] == [None] * len(gains.metrics)


def test_a_label_outside_of_its_space_is_0():
    tasks = (Task("click"), Task("order", space="click"), Task("watch", "regression"))
    schema = Schema("shop", (Field("item", rows=2),), tasks)
    labels = np.array([[0, 7, 3], [1, 1, 3], [1, 7, 7], [7, 7, 2]], np.float32)
    found = labels_of(Scores(labels, labels, labels != 7, np.ones(4, np.float32)), schema)
    np.testing.assert_array_equal(found["click"], [0, 1, 1, np.nan])
    np.testing.assert_array_equal(found["order"], [0, 1, np.nan, np.nan])
    np.testing.assert_array_equal(found["watch"], [3, 3, np.nan, 2])
