"""Influences of rows and groups, against the metrics themselves with a unit's weight moved; metrics
of graded gains, against those of labels where gains are 0 and 1, and their definitions."""

import itertools

import numpy as np
import pytest
from scipy.special import erf

from dtn_jax.metrics import METRICS, Units, influences
from dtn_jax.metrics.calibration import lowest_of_bins
from dtn_jax.metrics.gains import Gains, labels_of
from dtn_jax.metrics.metric import Rows
from dtn_jax.metrics.scores import Scores
from dtn_jax.schema import Field, Schema, Task

ROWS = 600


def binary(rows=ROWS, group=False, weights=False, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.random(rows) < 0.3
    z = (y + rng.normal(size=rows)).round(1).astype("f4")  # with ties
    who = rng.integers(40, size=rows) * 7 if group else None
    return Rows("binary", z, y, rng.integers(1, 4, rows) * 1.0 if weights else None, who, 5)


def regression(weights=False):
    rng = np.random.default_rng(0)
    y = rng.exponential(size=ROWS).round(1)
    z = (y + rng.normal(size=ROWS)).round(1)
    return Rows("regression", z, y, rng.random(ROWS) + 0.1 if weights else None)


def of(rows):
    units = Units(len(rows.scores), rows.group)
    return influences(rows, units), units


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("kind", ["rows", "groups", "regression"])
def test_an_influence_is_the_metric_s_derivative_in_a_unit_s_weight(kind, weights):
    rows = (
        regression(weights)
        if kind == "regression"
        else binary(group=kind == "groups", weights=weights)
    )
    found, units = of(rows)
    lists = ["ndcg_at_5", "ndcg_at_10", "mrr", "recall_at_5", "recall_at_10"]
    expected = ["auc", *["gauc", *lists] * (rows.group is not None)]
    expected += ["logloss", "normalised_entropy", "ece", "predicted_observed"]
    assert list(found) == (expected if rows.kind == "binary" else ["xauc", "rmse"])
    given = rows.counts
    for name, one in found.items():
        value = METRICS[name].compute(rows)
        np.testing.assert_allclose(one.value, value, rtol=1e-9)
        np.testing.assert_allclose([one.units.sum(), one.share.sum()], [0, 1], atol=1e-12)
        if name == "ece":
            continue  # in a test of its own
        for unit in (0, 3, 17):
            at = units.of_row == unit
            moved = [given * np.where(at, 1 + step, 1) for step in (1e-4, -1e-4)]
            up, down = (
                METRICS[name].compute(Rows(rows.kind, rows.scores, rows.labels, w, rows.group))
                for w in moved
            )
            np.testing.assert_allclose(
                one.slope * one.units[unit], (up - down) / 2e-4, atol=1e-9, rtol=1e-5
            )


def test_the_ece_s_influence_is_what_its_text_says():
    rows = binary(weights=True)
    found, _ = of(rows)
    p = 1 / (1 + np.exp(-rows.scores.astype(float)))
    bin_ = np.searchsorted(lowest_of_bins(p, 5, rows.weights), p, side="right") - 1
    error = rows.weights * (p - rows.labels)
    total, wanted = rows.weights.sum(), np.zeros(ROWS)
    for one in range(bin_.max() + 1):
        away = error * (bin_ == one)
        t = away.sum() / np.sqrt((away**2).sum())
        wanted += erf(1.5 * t / np.sqrt(2)) * away / total
    wanted -= wanted.sum() * rows.weights / total
    np.testing.assert_allclose(found["ece"].units, wanted, atol=1e-12)


def test_squared_influences_are_delong_s_variance():
    found = of(binary(3000))[0]["auc"]
    rows = binary(3000)
    won = (rows.scores[:, None] > rows.scores) + 0.5 * (rows.scores[:, None] == rows.scores)
    won = won[rows.labels][:, ~rows.labels]  # a positive a line
    parts = (won.mean(axis=n) for n in (1, 0))
    expected = np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts))
    assert np.sqrt((found.units**2).sum()) == pytest.approx(expected, rel=0.01)


def test_many_units_are_joined_and_say_the_same():
    rows = binary(3000)
    whole, units = of(rows)[0], Units(3000, most=500)
    joined = influences(rows, units)
    assert units.count == 500
    for name, one in joined.items():
        assert one.value == pytest.approx(whole[name].value, rel=1e-12)
        spread, expected = (np.sqrt((m.units**2).sum()) for m in (one, whole[name]))
        assert spread == pytest.approx(expected, rel=0.2), name


def test_shares_count_as_fewer_units_where_they_are_unequal():
    group = np.repeat(np.arange(4), [10, 10, 10, 70])
    rows = Rows("binary", np.zeros(100, "f4"), np.arange(100) % 2, None, group)
    found, _ = of(rows)
    assert found["logloss"].effective == pytest.approx(1 / (3 * 0.1**2 + 0.7**2))
    assert found["auc"].effective == pytest.approx(1 / (3 * 0.1**2 + 0.7**2))


def test_an_auc_counts_as_few_units_as_the_class_that_lies_in_fewer():
    group = np.repeat(np.arange(50), 10)
    rows = Rows("binary", np.zeros(500, "f4"), group < 4, None, group)
    found, _ = of(rows)
    assert found["auc"].effective == pytest.approx(4)
    assert found["logloss"].effective == pytest.approx(50)


def test_of_one_class_the_auc_is_not_defined():
    rows = Rows("binary", np.zeros(9, "f4"), np.zeros(9), None, np.arange(9))
    found, _ = of(rows)
    names = ("auc", "gauc", "mrr", "normalised_entropy")
    assert np.isnan([found[name].value for name in names]).all()
    assert found["logloss"].value == pytest.approx(np.log(2))


# Graded gains.


def drawn(seed=0):
    """Scores with ties, groups, weights."""
    rng = np.random.default_rng(seed)
    scores, group = np.round(rng.normal(size=ROWS), 1), rng.integers(0, 60, ROWS)
    return scores, group, rng.random(ROWS) + 0.1, rng


@pytest.mark.parametrize("weighted", [False, True])
def test_gains_of_0_and_1_are_labels(weighted):
    scores, group, weights, rng = drawn()
    weights = weights if weighted else None
    labels, places = (rng.random(ROWS) < 0.2).astype(float), np.arange(ROWS)
    units = Units(ROWS, group)
    gains = Gains(labels, places, units, group, weights)
    expected = influences(Rows("binary", scores, labels, weights, group), units.at(places))
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
    gain = rng.integers(0, 4, ROWS).astype(float)
    won = (scores[:, None] > scores) + 0.5 * (scores[:, None] == scores)
    share = gain / gain.max()
    pairs = share[:, None] * (1 - share)
    gains = Gains(gain, np.arange(ROWS), Units(ROWS, group), group)
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
    gains = Gains(np.zeros(ROWS), np.arange(ROWS), Units(ROWS, group), group)
    assert [gains.value(name, scores) for name in gains.metrics] == [None] * len(gains.metrics)


def test_a_label_outside_of_its_space_is_0():
    tasks = (Task("click"), Task("order", space="click"), Task("watch", "regression"))
    schema = Schema("shop", (Field("item", rows=2),), tasks)
    labels = np.array([[0, 7, 3], [1, 1, 3], [1, 7, 7], [7, 7, 2]], np.float32)
    found = labels_of(Scores(labels, labels, labels != 7, np.ones(4, np.float32)), schema)
    np.testing.assert_array_equal(found["click"], [0, 1, 1, np.nan])
    np.testing.assert_array_equal(found["order"], [0, 1, np.nan, np.nan])
    np.testing.assert_array_equal(found["watch"], [3, 3, np.nan, 2])
