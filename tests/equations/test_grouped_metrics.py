"""Metrics within groups: GAUC, NDCG@k, MRR and recall@k, against loops, scikit-learn, all orders of
equal scores, and by hand."""

import itertools
import math

import numpy as np
import pytest
from scored_rows import gauc_of
from sklearn.metrics import ndcg_score

from dtn_jax.metrics import METRICS, Rows
from dtn_jax.metrics.auc import auc
from dtn_jax.metrics.within_groups import groups_of, ndcg, recall, reciprocal_ranks


def loop(scores, labels, group, weights=None):
    """The definition, group by group."""
    rows = np.ones(len(scores)) if weights is None else weights
    total = share = groups = skipped = 0
    for one in sorted(set(group[rows > 0].tolist())):
        own = group == one
        area = auc(scores[own], labels[own], None if weights is None else weights[own])
        if area is None:
            skipped += 1
        else:
            groups += 1
            share += rows[own].sum()
            total += rows[own].sum() * area
    return total / share, groups, skipped


def of_groups(rows, groups, seed, ties):
    """Groups of unequal sizes, their numbers large, negative and in no order."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(-(2**62), 2**62, groups)
    group = numbers[np.minimum(rng.integers(0, groups, rows), rng.integers(0, groups, rows))]
    scores = rng.normal(size=rows) + group % 7  # between groups the order means nothing
    labels = rng.random(rows) < 0.3
    return np.round(scores, 0 if ties else 12), labels, group, rng.random(rows) + 0.05


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("groups", [1, 8, 400])
def test_gauc_is_the_mean_over_groups(dtype, ties, groups):
    scores, labels, group, weights = of_groups(1000, groups, seed=groups, ties=ties)
    scores = scores.astype(dtype)
    weights[::9] = 0
    for w in (None, weights):
        value, counted, skipped = loop(scores, labels, group, w)
        got = gauc_of(scores, labels.astype(np.float32), group, w)
        np.testing.assert_allclose(got[0], value, rtol=1e-12)
        assert got[1:] == (counted, skipped)
        assert counted > 0
        assert (skipped > 0) == (groups == 400)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_group_is_the_auc(dtype):
    """Scores of both signs and every magnitude, zeros of both signs and subnormals among them."""
    rng = np.random.default_rng(0)
    scores = rng.choice([-1, 1], 3000) * 10.0 ** rng.integers(-45, 38, 3000)
    scores = np.concatenate([scores, np.zeros(500), -np.zeros(500)]).astype(dtype)
    labels = rng.random(4000) < 0.4
    got = gauc_of(scores, labels, np.full(4000, 9))
    np.testing.assert_allclose(got[0], auc(scores, labels), rtol=1e-14)
    assert gauc_of(np.array([-0.0, 0.0], dtype), np.array([1, 0]), np.zeros(2, int))[0] == 0.5


# NDCG, and what holds for every metric of lists.


def lists(seed, ties, rows=600, groups=60):
    """Groups of 1 to some 30 rows, their numbers in no order."""
    scores, labels, group, _ = of_groups(rows, groups, seed, ties)
    return scores.astype(np.float32), labels, group


def measured(scores, labels, group, weights=None, name="ndcg_at_5"):
    return METRICS[name].compute(Rows("binary", scores, labels, weights, group))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", [1, 5, 10])
def test_ndcg_is_that_of_scikit_learn(k, ties):
    scores, labels, group = lists(k, ties)
    found = ndcg(groups_of(Rows("binary", scores, labels, None, group)), k)
    names = np.unique(group)
    assert len(found) == len(names)
    for name, got in zip(names, found):
        y, z = labels[group == name], scores[group == name]
        if not y.any():
            assert np.isnan(got)
        elif len(y) > 1:  # which scikit-learn needs
            np.testing.assert_allclose(got, ndcg_score([y], [z], k=k), rtol=1e-12)
        else:
            assert got == 1


def test_ndcg_by_hand():
    # group 5: positives at places 1 and 3 of 3; group 2: one of two equal scores; 9 has none
    scores = np.array([3.0, 2, 1, 0, 0, 7])
    labels, group = np.array([1, 0, 1, 1, 0, 0]), np.array([5, 5, 5, 2, 2, 9])
    of_5 = (1 + 1 / 2) / (1 + 1 / np.log2(3))
    of_2 = (1 + 1 / np.log2(3)) / 2
    np.testing.assert_allclose(measured(scores, labels, group), (of_5 + of_2) / 2, rtol=1e-15)
    # a group counts by its rows' mean weight; rows of weight 0 are gone, here a negative
    weights = np.array([2.0, 0, 4, 1, 1, 5])
    np.testing.assert_allclose(
        measured(scores, labels, group, weights), (3 * 1 + 1 * of_2) / 4, rtol=1e-15
    )


@pytest.mark.parametrize("name", ["ndcg_at_5", "mrr", "recall_at_10"])
def test_one_weight_a_group_weighs_its_value(name):
    scores, labels, group = lists(3, ties=True)
    weights = 0.5 + np.abs(group % 13)
    names = np.unique(group)
    parts = [group == one for one in names]
    values = [measured(scores[p], labels[p], group[p], None, name) for p in parts]
    have = np.array([v is not None for v in values])
    assert 5 < have.sum() < len(names)
    share = (0.5 + np.abs(names % 13))[have]
    expected = np.average([v for v in values if v is not None], weights=share)
    got = measured(scores, labels, group, weights, name)
    np.testing.assert_allclose(got, expected, rtol=1e-13)


# MRR and recall.


def over_all_orders(of_list, scores, labels):
    """The definition: every order in which the scores fall, each as likely."""
    orders = (list(o) for o in itertools.permutations(range(len(scores))))
    return np.mean([of_list(labels[o]) for o in orders if all(np.diff(scores[o]) <= 0)])


def reciprocal_rank(labels):
    """Of labels in their order."""
    return 1 / (1 + np.argmax(labels))


LISTS = {"mrr": (reciprocal_ranks, reciprocal_rank)}
LISTS |= {
    f"recall at {k}": (lambda groups, k=k: recall(groups, k), lambda y, k=k: y[:k].sum() / y.sum())
    for k in (1, 2, 5)
}


@pytest.mark.parametrize("name", LISTS)
def test_a_metric_of_lists_is_the_mean_over_all_orders_of_equal_scores(name):
    rng, (metric, of_list) = np.random.default_rng(0), LISTS[name]
    group = np.repeat(np.arange(40), rng.integers(1, 7, 40))
    scores, labels = rng.integers(0, 3, len(group)) * 1.0, rng.random(len(group)) < 0.4
    found = metric(groups_of(Rows("binary", scores, labels, None, group)))
    assert 20 < np.isfinite(found).sum() < 40
    for name, got in enumerate(found):
        own = group == name
        if labels[own].any():
            expected = over_all_orders(of_list, scores[own], labels[own])
            np.testing.assert_allclose(got, expected, rtol=1e-12)
        else:
            assert np.isnan(got)


@pytest.mark.parametrize(("above", "rows", "hits"), [(0, 4, 3), (2, 300, 1), (5, 5000, 7)])
def test_mrr_of_many_equal_scores(above, rows, hits):
    """The chance of f negatives first, from binomial coefficients of Python's integers."""
    ways = math.comb(rows, hits)
    expected = sum(
        math.comb(rows - f - 1, hits - 1) / ways / (above + f + 1) for f in range(rows - hits + 1)
    )
    labels = np.zeros(above + rows)
    labels[above : above + hits] = 1
    scores = np.zeros(above + rows, np.float32)
    scores[:above] = 1
    given = Rows("binary", scores, labels, None, np.zeros(above + rows, int))
    (got,) = reciprocal_ranks(groups_of(given))
    np.testing.assert_allclose(got, expected, rtol=1e-12)
