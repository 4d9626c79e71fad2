"""NDCG@k within groups against scikit-learn, list by list, and by hand."""

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from dtn_jax.metrics import METRICS, Rows
from dtn_jax.metrics.lists import lists_of
from dtn_jax.metrics.ndcg import ndcg


def example(seed, ties, dtype=np.float32, rows=600, groups=60):
    """Groups of 1 to some 30 rows, their numbers in no order."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(-(2**62), 2**62, groups)
    group = numbers[np.minimum(rng.integers(0, groups, rows), rng.integers(0, groups, rows))]
    scores = rng.normal(size=rows).astype(dtype)
    return np.round(scores) if ties else scores, rng.random(rows) < 0.2, group


def measured(scores, labels, group, weights=None, name="ndcg_at_5"):
    return METRICS[name].compute(Rows("binary", scores, labels, weights, group))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", [1, 5, 10])
def test_it_is_that_of_scikit_learn(k, ties, dtype):
    scores, labels, group = example(k, ties, dtype)
    found = ndcg(lists_of(Rows("binary", scores, labels, None, group)), k)
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


def test_by_hand():
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
    found = {
        name: measured(scores, labels, group, None, name) for name in METRICS if "list" in name
    }
    assert found == {"list_groups": 2, "list_skipped": 1}


@pytest.mark.parametrize("name", ["ndcg_at_5", "ndcg_at_10", "mrr", "recall_at_5", "recall_at_10"])
def test_no_metric_of_lists_sees_the_order_of_rows_or_the_scale_of_scores(name):
    scores, labels, group = example(0, ties=True)
    expected = measured(scores, labels, group, None, name)
    order = np.random.default_rng(1).permutation(len(scores))
    for moved in (scores, np.exp(scores), 3 * scores - 7, scores + 100 * (group % 5)):
        got = measured(moved[order], labels[order], group[order], None, name)
        np.testing.assert_allclose(got, expected, rtol=1e-13)
    assert measured(-scores, labels, group, None, name) != pytest.approx(expected, rel=1e-3)
    assert measured(labels * 1.0, labels, group, None, name) > expected


@pytest.mark.parametrize("name", ["ndcg_at_5", "mrr", "recall_at_10"])
def test_one_weight_a_group_weighs_its_value(name):
    scores, labels, group = example(3, ties=True)
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


@pytest.mark.parametrize("name", ["ndcg_at_5", "mrr", "recall_at_5"])
def test_without_positives_it_is_not_defined(name):
    none = np.zeros(0)
    assert measured(none, none, np.zeros(0, int), None, name) is None
    assert measured(np.arange(3.0), np.zeros(3), np.zeros(3, int), None, name) is None
    weights = np.array([0.0, 1, 1])
    assert measured(np.arange(3.0), np.array([1, 0, 0]), np.arange(3), weights, name) is None
