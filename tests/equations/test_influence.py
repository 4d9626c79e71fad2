"""Influences of rows and groups, against the metrics themselves with a unit's weight moved."""

import numpy as np
import pytest
from scipy.special import erf

from dtn_jax.metrics import METRICS, Units, influences
from dtn_jax.metrics.calibration import lowest_of_bins
from dtn_jax.metrics.metric import Rows

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
    expected = METRICS["auc_se"].compute(rows)
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
