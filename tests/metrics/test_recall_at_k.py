"""Recall@k within groups against drawn orders of ties, and by hand."""

import numpy as np
import pytest

from dtn_jax.metrics import METRICS, Rows
from dtn_jax.metrics.lists import lists_of
from dtn_jax.metrics.recall_at_k import recall


def by_group(scores, labels, group, k):
    return recall(lists_of(Rows("binary", scores, labels, None, group)), k)


@pytest.mark.parametrize("k", [1, 5, 10])
def test_it_is_the_share_of_positives_among_the_first(k):
    rng = np.random.default_rng(k)
    scores, group = rng.normal(size=2000), rng.integers(0, 150, 2000)
    labels = rng.random(2000) < 0.2
    for name, got in enumerate(by_group(scores, labels, group, k)):
        own = np.flatnonzero(group == name)
        ranked = labels[own[np.argsort(-scores[own])]]
        expected = ranked[:k].sum() / ranked.sum() if ranked.any() else np.nan
        np.testing.assert_allclose(got, expected, rtol=1e-14)


def test_ties_are_the_mean_over_their_orders():
    # places 1 and 2 to 5: two of the four are positive; of the first 2 places, 1 is of them
    scores, labels = np.array([9.0, 4, 4, 4, 4, 1]), np.array([1, 1, 0, 1, 0, 1])
    (got,) = by_group(scores, labels, np.zeros(6, int), 2)
    np.testing.assert_allclose(got, (1 + 2 / 4) / 4)
    rng = np.random.default_rng(0)
    drawn = [
        labels[np.lexsort((rng.random(6), -scores))][:3].sum() / labels.sum() for _ in range(4000)
    ]
    (got,) = by_group(scores, labels, np.zeros(6, int), 3)
    assert np.mean(drawn) == pytest.approx(got, abs=0.01)
    assert got == (1 + 2 * 2 / 4) / 4


def test_the_record_names_its_k():
    rows = Rows("binary", -np.arange(20.0), np.ones(20), None, np.zeros(20, int))
    for k in (5, 10):
        metric = METRICS[f"recall_at_{k}"]
        assert (metric.title, metric.compute(rows)) == (f"recall@{k}", k / 20)
