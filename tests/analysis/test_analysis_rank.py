"""Rank correlation of importances, and the divergence of two tasks with its interval."""

import numpy as np
import pytest
from given_importance import given
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from dtn_jax.analysis import rank


def test_spearman_is_that_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (2, 4, 12)).astype(float)
    for i in range(4):
        assert rank.spearman(a, b)[i] == pytest.approx(spearmanr(a[i], b[i]).statistic)
    assert np.isnan(rank.spearman(np.ones(4), np.arange(4.0)))


def test_divergence_of_equal_and_of_reversed_orders():
    up = np.arange(8.0)
    found = rank.divergence(given(np.stack([up, 3 * up + 1, -up], axis=1)))
    np.testing.assert_allclose(found.value, [[0, 0, 2], [0, 0, 2], [2, 2, 0]], atol=1e-12)
    np.testing.assert_allclose(found.low, found.value, atol=1e-12)
    np.testing.assert_allclose(found.high, found.value, atol=1e-12)
    np.testing.assert_allclose(found.itself, 0, atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "noise", "covered", "mirrored"),
    [
        (8, 0.1, 96, 71),
        (8, 1.0, 88, 64),
        (12, 0.3, 92, 80),
        (39, 0.1, 93, 82),
        (39, 1.0, 88, 81),
    ],
)
def test_the_interval_of_a_divergence_has_the_true_one_in_it(fields, noise, covered, mirrored):
    """In so many % of 200 simulated pairs; fewer, were the draws mirrored at the estimate.

    `noise` is the standard error of every importance over the median one. rank.py and the report
    quote the figures.
    """
    rng = np.random.default_rng(0)
    inside = np.zeros(2)
    with threadpool_limits(1):  # threads only wait for each other on matrices this small
        for _ in range(200):
            true = rng.lognormal(0, 1.5, (fields, 2))
            error = noise * np.median(true)
            seen = true + error * rng.normal(size=true.shape)
            found = rank.divergence(given(seen, error), draws=200)
            value, low, high = (x[0, 1] for x in (found.value, found.low, found.high))
            wanted = 1 - rank.spearman(*true.T)
            inside += low <= wanted <= high, 2 * value - high <= wanted <= 2 * value - low
    np.testing.assert_allclose(inside / 2, [covered, mirrored], atol=2.5)


def test_noise_widens_the_interval_and_shows_in_the_divergence_of_a_task_from_itself():
    up = np.arange(8.0)
    wide, wider = (
        rank.divergence(given(np.stack([up, up[::-1]], axis=1), error)) for error in (0.3, 3)
    )
    for found in (wide, wider):
        assert found.low[0, 1] < found.high[0, 1] <= 2
    assert wide.high[0, 1] - wide.low[0, 1] < wider.high[0, 1] - wider.low[0, 1]
    assert (wide.itself < wider.itself).all()
    all_noise = rank.divergence(given(np.zeros((8, 2)) + 1e-6 * up[:, None], 1))
    np.testing.assert_allclose(all_noise.itself, 1, atol=0.05)


def test_importances_that_are_certain_are_drawn_as_they_are():
    """Of fields that the Bayes-optimal score does not use: their equal ranks stay equal."""
    error = np.array([[0.1, 0.2], [0.0, 0.3], [0.0, 0.0], [0.0, 0.1]])
    mixed = error.ravel()[:, None] * np.random.default_rng(0).normal(size=(8, 8))
    found = given(np.arange(8.0).reshape(4, 2))
    found.__dict__["covariance"] = mixed @ mixed.T
    drawn = rank.drawn(found, 50, 0)
    certain = error == 0
    assert (drawn[:, certain] == found.mean[certain]).all()
    assert (drawn[:, ~certain].std(axis=0) > 0.01).all()


def test_draws_have_the_covariance():
    found = given(np.arange(6.0).reshape(3, 2))
    mixed = np.random.default_rng(0).normal(size=(6, 6))
    found.__dict__["covariance"] = mixed @ mixed.T
    drawn = rank.drawn(found, 40_000, 0).reshape(-1, 6)
    np.testing.assert_allclose(np.cov(drawn.T), mixed @ mixed.T, atol=0.3)
    np.testing.assert_allclose(drawn.mean(axis=0), np.arange(6.0), atol=0.1)
