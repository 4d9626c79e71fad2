"""Metrics under draws of rows or groups, against the same metrics of the rows that were drawn."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import log_loss, roc_auc_score

from dtn_jax.metrics import METRICS, paired
from dtn_jax.metrics.auc import auc_standard_error
from dtn_jax.metrics.gauc import gauc
from dtn_jax.metrics.metric import Rows
from dtn_jax.metrics.significance import compare
from dtn_jax.metrics.xauc import xauc


def made(rows=600, group=False, weights=False, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.random(rows) < 0.3
    z = (y + rng.normal(size=rows)).round(1).astype("f4")
    who = rng.integers(40, size=rows) * 7 if group else None
    return Rows("binary", z, y, rng.integers(1, 4, rows) * 1.0 if weights else None, who, 5)


@pytest.mark.parametrize("group", [False, True])
def test_draws_are_the_metrics_of_the_rows_drawn(group):
    rows = made(group=group)
    draws = paired.Draws(600, rows.group, draws=40)
    found = paired.drawn(rows, np.arange(600), draws)
    lists = ["ndcg_at_5", "ndcg_at_10", "mrr", "recall_at_5", "recall_at_10"]
    ratios = ["logloss", "normalised_entropy", "ece", "predicted_observed"]
    assert list(found) == ["auc", *["gauc", *lists] * group, *ratios]
    p = 1 / (1 + np.exp(-rows.scores.astype(float)))
    away = []
    for i, times in enumerate(draws.times):
        n = times[draws.unit]
        taken = np.repeat(np.arange(600), n)
        y = rows.labels[taken]
        away.append(found["auc"].draws[i] - roc_auc_score(y, rows.scores[taken]))
        assert found["logloss"].draws[i] == pytest.approx(log_loss(y, p[taken]), rel=1e-6)
        assert found["predicted_observed"].draws[i] == pytest.approx(
            p[taken].sum() / y.sum(), rel=1e-6
        )
        entropy = log_loss(y, p[taken]) / log_loss(y, np.full(len(y), y.mean()))
        assert found["normalised_entropy"].draws[i] == pytest.approx(entropy, rel=1e-6)
    error = auc_standard_error(rows.scores, rows.labels)
    assert np.sqrt(np.mean(np.square(away))) < 0.1 * error  # to first order
    for name, value in (("auc", roc_auc_score(rows.labels, rows.scores)), ("logloss", None)):
        assert found[name].value == pytest.approx(value or log_loss(rows.labels, p), rel=1e-6)
    if group:
        whole = gauc(rows.scores, rows.labels, rows.group)
        assert found["gauc"].value == pytest.approx(whole.value, rel=1e-12)


@pytest.mark.parametrize("name", ["gauc", "ndcg_at_5", "mrr", "recall_at_10"])
@pytest.mark.parametrize("weights", [False, True])
def test_a_group_drawn_twice_is_two_groups(name, weights):
    rows = made(group=True, weights=weights)
    draws = paired.Draws(600, rows.group, draws=10)
    found = paired.drawn(rows, np.arange(600), draws)[name]
    assert found.value == pytest.approx(METRICS[name].compute(rows), rel=1e-12)
    for times, got in zip(draws.times, found.draws):
        copies = [np.flatnonzero(draws.unit == u) for u in np.repeat(np.arange(len(times)), times)]
        at = np.concatenate(copies)
        own = np.repeat(np.arange(len(copies)), [len(c) for c in copies])
        w = rows.weights[at] if weights else None
        again = Rows("binary", rows.scores[at], rows.labels[at], w, own)
        assert got == pytest.approx(METRICS[name].compute(again), rel=1e-9)


@pytest.mark.parametrize("weights", [False, True])
def test_the_spread_of_draws_is_delong_s_standard_error(weights):
    rows = made(3000, weights=weights)
    found = paired.drawn(rows, np.arange(3000), paired.Draws(3000, None))["auc"]
    if weights:  # as of as many copies of each row, which are drawn together
        copies = np.repeat(np.arange(3000), rows.weights.astype(int))
        same = Rows("binary", rows.scores[copies], rows.labels[copies], None, copies)
        other = paired.drawn(same, np.arange(len(copies)), paired.Draws(len(copies), copies))
        assert found.value == pytest.approx(other["auc"].value, rel=1e-12)
        np.testing.assert_allclose(found.draws, other["auc"].draws, rtol=1e-9)
    else:
        expected = auc_standard_error(rows.scores, rows.labels)
        assert np.std(found.draws) == pytest.approx(expected, rel=0.05)


def test_a_paired_difference_of_log_losses_has_the_normal_interval():
    one, other = made(2000), made(2000)
    other.scores = other.scores + np.float32(0.4)
    draws = paired.Draws(2000, None)
    a, b = (paired.drawn(r, np.arange(2000), draws)["logloss"] for r in (one, other))
    found = compare(
        b.draws[None], a.draws[None], np.array([b.value]), np.array([a.value]), most=np.inf
    )
    z, y = one.scores.astype(float), one.labels
    d = np.logaddexp(0, np.where(y, -1, 1) * (z + 0.4)) - np.logaddexp(0, np.where(y, -1, 1) * z)
    error = d.std() / np.sqrt(2000)
    np.testing.assert_allclose(found.difference, d.mean(), rtol=1e-5)
    expected = d.mean() + norm.ppf([0.025, 0.975]) * error
    np.testing.assert_allclose([found.low, found.high], expected, atol=0.15 * error)


def test_many_units_are_joined_and_tell_the_same(monkeypatch):
    rows = made(3000, group=False)
    whole = paired.drawn(rows, np.arange(3000), paired.Draws(3000, None))
    monkeypatch.setattr(paired, "MOST", 500)
    joined = paired.drawn(rows, np.arange(3000), paired.Draws(3000, None))
    for name, found in joined.items():
        assert found.value == pytest.approx(whole[name].value, rel=1e-12)
        assert np.std(found.draws) == pytest.approx(np.std(whole[name].draws), rel=0.2), name


def test_of_one_class_the_auc_is_not_defined():
    rows = Rows("binary", np.zeros(9, "f4"), np.zeros(9), None, np.arange(9))
    found = paired.drawn(rows, np.arange(9), paired.Draws(9, np.arange(9), 5))
    assert np.isnan(
        [found[name].value for name in ("auc", "gauc", "mrr", "normalised_entropy")]
    ).all()
    assert np.isnan(found["auc"].draws).all()
    assert found["logloss"].value == pytest.approx(np.log(2))


@pytest.mark.parametrize("weights", [False, True])
def test_an_xauc_is_drawn_to_first_order(weights):
    rng = np.random.default_rng(0)
    y = rng.exponential(size=800).round(1)
    z = (y + rng.normal(size=800)).round(1)
    w = rng.random(800) + 0.1 if weights else None
    rows = Rows("regression", z, y, w)
    draws = paired.Draws(800, None, 60)
    found = paired.drawn(rows, np.arange(800), draws)["xauc"]
    assert found.value == pytest.approx(xauc(rows), rel=1e-12)
    exact = []
    for times in draws.times:
        at = np.repeat(np.arange(800), times)
        exact.append(xauc(Rows("regression", z[at], y[at], w[at] if weights else None)))
    spread = np.std(exact)
    assert np.std(found.draws) == pytest.approx(spread, rel=0.1)
    assert np.abs(found.draws - exact).max() < 0.2 * spread


def test_a_regression_has_its_rmse():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(2, 500))
    draws = paired.Draws(500, None, 20)
    found = paired.drawn(Rows("regression", z, y), np.arange(500), draws)["rmse"]
    assert found.value == pytest.approx(np.sqrt(np.mean((z - y) ** 2)))
    expected = np.sqrt(np.average((z - y) ** 2, weights=draws.times[3][draws.unit]))
    assert found.draws[3] == pytest.approx(expected)
