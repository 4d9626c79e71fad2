"""GAUC against a plain loop over groups, and hand-computed numbers."""

import jaxtyping
import numpy as np
import pytest

from dtn_jax.metrics.auc import auc
from dtn_jax.metrics.gauc import Gauc, gauc


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


def example(rows, groups, seed, ties):
    """Groups of unequal sizes, their numbers large, negative and in no order."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(-(2**62), 2**62, groups)
    group = numbers[np.minimum(rng.integers(0, groups, rows), rng.integers(0, groups, rows))]
    scores = rng.normal(size=rows) + group % 7  # between groups the order means nothing
    labels = rng.random(rows) < 0.3
    return np.round(scores, 0 if ties else 12), labels, group, rng.random(rows) + 0.05


def test_gauc_by_hand():
    # group 5: positive 3 against 1 and 3: (1 + 1/2) / 2 = 3/4, of 3 rows
    # group -2: positive 1 against 2: 0, of 2 rows; groups 0 and 7 have one class
    scores = np.array([3.0, 9, 1, 1, 3, 2, 8, 8], np.float32)
    labels = np.array([1, 1, 0, 1, 0, 0, 0, 0])
    group = np.array([5, 0, 5, -2, 5, -2, 7, 7])
    assert gauc(scores, labels, group) == Gauc(3 * 0.75 / 5, 2, 2)
    # weights: group 5, negatives 1 and 3: (1 + 3/2) / 4 of weight 6; group -2 0 of weight 2
    weights = np.array([2.0, 1, 1, 1, 3, 1, 1, 1])
    assert gauc(scores, labels, group, weights) == Gauc(6 * 2.5 / 4 / 8, 2, 2)
    # without the positive of group -2, that one has one class too
    weights[3] = 0
    assert gauc(scores, labels, group, weights) == Gauc(2.5 / 4, 1, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("groups", [1, 8, 400])
def test_gauc_is_the_mean_over_groups(dtype, ties, groups):
    scores, labels, group, weights = example(1000, groups, seed=groups, ties=ties)
    scores = scores.astype(dtype)
    weights[::9] = 0
    for w in (None, weights):
        value, counted, skipped = loop(scores, labels, group, w)
        got = gauc(scores, labels.astype(np.float32), group, w)
        np.testing.assert_allclose(got.value, value, rtol=1e-12)
        assert (got.groups, got.skipped) == (counted, skipped)
        assert counted > 0
        assert (skipped > 0) == (groups == 400)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_group_is_the_auc(dtype):
    """Scores of both signs and every magnitude, zeros of both signs and subnormals among them."""
    rng = np.random.default_rng(0)
    scores = rng.choice([-1, 1], 3000) * 10.0 ** rng.integers(-45, 38, 3000)
    scores = np.concatenate([scores, np.zeros(500), -np.zeros(500)]).astype(dtype)
    labels = rng.random(4000) < 0.4
    got = gauc(scores, labels, np.full(4000, 9))
    np.testing.assert_allclose(got.value, auc(scores, labels), rtol=1e-14)
    assert gauc(np.array([-0.0, 0.0], dtype), np.array([1, 0]), np.zeros(2, int)).value == 0.5


def test_a_shift_within_groups_and_the_order_of_rows_change_nothing():
    scores, labels, group, _ = example(500, 30, seed=1, ties=True)
    expected = gauc(scores, labels, group)
    assert gauc(scores + 5 * (group % 3), labels, group) == expected
    order = np.random.default_rng(0).permutation(500)
    assert gauc(scores[order], labels[order], group[order]) == expected
    assert expected.value != auc(scores, labels)


def test_weights_count_as_copies():
    scores, labels, group, _ = example(200, 10, seed=2, ties=True)
    weights = np.random.default_rng(3).integers(0, 4, 200)
    copies = np.repeat(np.arange(200), weights)
    weighted = gauc(scores, labels, group, weights.astype(float))
    copied = gauc(scores[copies], labels[copies], group[copies])
    np.testing.assert_allclose(weighted.value, copied.value, rtol=1e-13)
    assert weighted[1:] == copied[1:]


def test_not_defined_is_none():
    none = np.zeros(0)
    assert gauc(none, none, np.zeros(0, int)) == Gauc(None, 0, 0)
    assert gauc(np.arange(4.0), np.array([0, 1, 0, 0]), np.arange(4)) == Gauc(None, 0, 4)
    assert gauc(np.arange(2.0), np.array([0, 1]), np.zeros(2, int), np.zeros(2)) == Gauc(None, 0, 0)


def test_wrong_input_is_named():
    scores, labels, group = np.zeros(3), np.array([0, 1, 0]), np.zeros(3, int)
    with pytest.raises((ValueError, jaxtyping.TypeCheckError)):
        gauc(scores, labels, group[:2])
    with pytest.raises(ValueError, match="1 of 3 labels are neither 0 nor 1"):
        gauc(scores, np.array([0, 2, 1]), group)
    with pytest.raises(ValueError, match="1 of 3 scores are not finite"):
        gauc(np.array([0, np.nan, 1]), labels, group)
    with pytest.raises(ValueError, match="1 of 3 weights are negative"):
        gauc(scores, labels, group, np.array([1.0, -1, 1]))
    with pytest.raises(ValueError, match="1 of 3 weights are not finite"):
        gauc(scores, labels, group, np.array([1.0, np.nan, 1]))
