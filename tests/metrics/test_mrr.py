"""MRR against the mean over all orders of equal scores."""

import itertools
import math

import numpy as np
import pytest

from dtn_jax.metrics import METRICS, Rows
from dtn_jax.metrics.lists import lists_of
from dtn_jax.metrics.mrr import reciprocal_ranks


def by_group(scores, labels, group):
    return reciprocal_ranks(lists_of(Rows("binary", scores, labels, None, group)))


def first_place(labels):
    return 1 + next(i for i, label in enumerate(labels) if label)


def over_all_orders(scores, labels):
    """The definition: every order in which the scores fall, each as likely."""
    orders = itertools.permutations(range(len(scores)))
    falling = [o for o in orders if all(np.diff(scores[list(o)]) <= 0)]
    return np.mean([1 / first_place(labels[list(o)]) for o in falling])


def test_it_is_the_mean_over_all_orders_of_equal_scores():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(40), rng.integers(1, 7, 40))
    scores, labels = rng.integers(0, 3, len(group)) * 1.0, rng.random(len(group)) < 0.4
    found = by_group(scores, labels, group)
    assert 20 < np.isfinite(found).sum() < 40
    for name, got in enumerate(found):
        own = group == name
        if labels[own].any():
            expected = over_all_orders(scores[own], labels[own])
            np.testing.assert_allclose(got, expected, rtol=1e-12)
        else:
            assert np.isnan(got)


def test_without_ties_it_is_one_over_the_first_place():
    rng = np.random.default_rng(1)
    scores, group = rng.normal(size=2000), rng.integers(0, 100, 2000)
    labels = rng.random(2000) < 0.1
    expected = []
    for name in range(100):
        own = np.flatnonzero(group == name)
        if labels[own].any():
            expected.append(1 / first_place(labels[own[np.argsort(-scores[own])]]))
    got = METRICS["mrr"].compute(Rows("binary", scores, labels, None, group))
    np.testing.assert_allclose(got, np.mean(expected), rtol=1e-13)


@pytest.mark.parametrize(("above", "rows", "hits"), [(0, 4, 3), (2, 300, 1), (5, 5000, 7)])
def test_many_equal_scores(above, rows, hits):
    """The chance of f negatives first, from binomial coefficients of Python's integers."""
    ways = math.comb(rows, hits)
    expected = sum(
        math.comb(rows - f - 1, hits - 1) / ways / (above + f + 1) for f in range(rows - hits + 1)
    )
    labels = np.zeros(above + rows)
    labels[above : above + hits] = 1
    scores = np.zeros(above + rows, np.float32)
    scores[:above] = 1
    (got,) = by_group(scores, labels, np.zeros(above + rows, int))
    np.testing.assert_allclose(got, expected, rtol=1e-12)
