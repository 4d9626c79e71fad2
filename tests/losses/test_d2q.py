"""D2Q: a label is its quantile in its group of durations, and a score is seconds again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.base import get_config
from dtn_jax.errors import UserError
from dtn_jax.losses import read_losses
from dtn_jax.losses.by_task import predictions, task_losses
from dtn_jax.losses.d2q import D2Q
from dtn_jax.losses.label_quantiles import quantiles_by_id
from dtn_jax.schema import Field, Schema, Task

DRAW = np.random.default_rng(0)
GROUPS = DRAW.integers(0, 4, 3000).astype(np.int32)
# Seconds: longer where the group is; group 1 stops at 0 often, group 2 has whole seconds.
SECONDS = (DRAW.lognormal(sigma=0.7, size=3000) * 5 * (1 + GROUPS)).astype(np.float32)
SECONDS[(GROUPS == 1) & (DRAW.random(3000) < 0.4)] = 0
SECONDS = np.where(GROUPS == 2, np.round(SECONDS), SECONDS)
POINTS = quantiles_by_id(GROUPS, SECONDS, np.ones(3000, np.float32), 5, 40)
LOSS = D2Q(field="duration", quantiles=40, points=tuple(map(tuple, POINTS.tolist())))
FIELDS = (
    Field("tags", "bag", rows=5, slots=3),
    Field("duration", "numeric", rows=5),
    Field("price", "numeric", rows=2, standardised=True),
    Field("age", "numeric", rows=3),
)
QUANTILES = tuple(tuple(10.0**row * q for q in range(3)) for row in range(5))
TASKS = (Task("click"), Task("watch", "regression", quantiles=QUANTILES))


def quantile(y, points):
    """F(y): the middle of the ranks that have this label, else between its neighbours."""
    y, points = np.float64(y), points.astype(np.float64)
    at, last = np.flatnonzero(points == y), len(points) - 1
    if len(at):
        return at.mean() / last
    if not points[0] < y < points[-1]:
        return float(y > points[0])
    k = np.flatnonzero(points < y)[-1]
    return (k + (y - points[k]) / (points[k + 1] - points[k])) / last


def read(schema=FIELDS, **options):
    loss = get_config().loss
    loss.update_from_flattened_dict({"tasks": "watch=d2q"} | options)
    return read_losses(loss, Schema("shop", schema, TASKS))


def test_points_are_labels_of_the_group_from_the_least_to_the_largest():
    for group in range(4):
        own = np.sort(SECONDS[group == GROUPS])
        assert np.isin(POINTS[group], own).all()
        assert (POINTS[group][0], POINTS[group][-1]) == (own[0], own[-1])
        below = np.searchsorted(own, POINTS[group], side="right") / len(own)
        strictly = np.searchsorted(own, POINTS[group], side="left") / len(own)
        shares = np.linspace(0, 1, 40)
        assert ((strictly <= shares + 1e-9) & (shares <= below + 1e-9)).all()


def test_a_group_of_too_few_labels_has_the_distribution_of_all():
    ids, labels = np.array([1] * 9 + [2] * 10 + [3] * 40, np.int32), np.arange(59, dtype=np.float32)
    table = quantiles_by_id(ids, labels, np.ones(59, np.float32), 5, 10)
    every = np.quantile(labels, np.linspace(0, 1, 10), method="inverted_cdf")
    for row, own in ((0, every), (1, every), (2, labels[9:19]), (4, every)):
        np.testing.assert_array_equal(table[row], own)
    assert (table[3].min(), table[3].max()) == (19, 58)


def test_weights_count_labels_so_often():
    draw = np.random.default_rng(1)
    ids, labels = draw.integers(0, 2, 300).astype(np.int32), draw.normal(size=300)
    times = draw.integers(1, 4, 300)
    weighted = quantiles_by_id(ids, labels.astype(np.float32), times.astype(np.float32), 2, 20)
    ids, labels = np.repeat(ids, times), np.repeat(labels, times).astype(np.float32)
    ones = np.ones(len(ids), np.float32)
    np.testing.assert_array_equal(weighted, quantiles_by_id(ids, labels, ones, 2, 20))


def test_a_row_costs_the_squared_difference_of_quantiles(precision):
    y = np.append(SECONDS[:200], [-3, 0, 1e6, 7.25]).astype(np.float32)
    groups = np.append(GROUPS[:200], [0, 0, 1, 4]).astype(np.int32)
    z = 2 * np.random.default_rng(2).normal(size=len(y))
    p = 1 / (1 + np.exp(-z))
    u = np.array([quantile(one, POINTS[g]) for one, g in zip(y, groups)])
    assert ((u > 0) & (u < 1)).mean() > 0.9
    z_, y_ = jnp.asarray(z, precision.dtype), jnp.asarray(y, precision.dtype)
    precision.assert_close(LOSS(z_, y_, 1.0, jnp.asarray(groups)), (p - u) ** 2)
    slope = jax.grad(lambda z: LOSS(z, y_, 1.0, jnp.asarray(groups)).sum())(z_)
    precision.assert_close(slope, 2 * (p - u) * p * (1 - p))


def test_a_score_is_the_groups_quantile_in_seconds(precision):
    z = np.linspace(-9, 9, 300)
    for group in range(5):
        ids = jnp.full(300, group, jnp.int32)
        got = LOSS.prediction(jnp.asarray(z, precision.dtype), ids)
        shares = np.linspace(0, 1, 40)
        precision.assert_close(got, np.interp(1 / (1 + np.exp(-z)), shares, POINTS[group]))
        assert (np.diff(got) >= 0).all()
        assert got.min() >= POINTS[group].min()
        assert got.max() <= np.float32(POINTS[group].max())


def test_a_label_comes_back_from_its_quantile():
    y, groups = jnp.asarray(SECONDS), jnp.asarray(GROUPS)
    u = np.asarray(LOSS.quantile(y, groups), np.float64)
    inside = (u > 0) & (u < 1)
    assert inside.mean() > 0.9
    with np.errstate(divide="ignore"):
        z = np.log(u) - np.log1p(-u)
    back = np.asarray(LOSS.prediction(jnp.asarray(z, jnp.float32), groups))
    np.testing.assert_allclose(back[inside], SECONDS[inside], rtol=1e-3, atol=1e-3)
    ends = np.where(u == 0, POINTS[GROUPS, 0], POINTS[GROUPS, -1])
    np.testing.assert_allclose(back[~inside], ends[~inside], rtol=1e-6)


def test_labels_are_evenly_spread_over_quantiles_in_each_group():
    """What makes it D2Q: within a group and over groups the target has one distribution."""
    u = np.asarray(LOSS.quantile(jnp.asarray(SECONDS), jnp.asarray(GROUPS)))
    for group in (0, 3):
        own = np.sort(u[group == GROUPS])
        np.testing.assert_allclose(own, np.linspace(0, 1, len(own)), atol=0.03)
    assert np.ptp([u[g == GROUPS].mean() for g in range(4)]) < 0.02  # of ties the middle rank
    zeros = u[(GROUPS == 1) & (SECONDS == 0)]
    assert len(zeros) > 200
    np.testing.assert_allclose(zeros, zeros[0])
    assert zeros[0] == pytest.approx(0.2, abs=0.03)


def test_far_scores_and_labels_leave_numbers_finite():
    z, y = jnp.array([1e4, -1e4, 1e4, -1e4]), jnp.array([1e30, 0.0, 0.0, 1e30])
    groups = jnp.array([0, 0, 4, 1])
    cost, slope = jax.value_and_grad(lambda z: LOSS(z, y, 1.0, groups).sum())(z)
    assert np.isfinite(cost)
    assert np.isfinite(slope).all()
    ends = [POINTS[0, -1], POINTS[0, 0], POINTS[4, -1], POINTS[1, 0]]
    np.testing.assert_allclose(LOSS.prediction(z, groups), ends, rtol=1e-6)


def test_losses_and_scores_read_the_bucket_of_each_row():
    """The fourth slot of the ids; padding rows, whose ids are -1, have numbers too."""
    chosen = read(**{"d2q.field": "duration", "d2q.quantiles": 3})
    ids = np.zeros((4, 6), np.int32)
    ids[:, 3] = [1, 2, 4, -1]
    outputs = {"click": jnp.arange(4.0), "watch": jnp.zeros(4)}
    scores = predictions(outputs, chosen, ids)
    np.testing.assert_allclose(scores[:, 1], [10, 100, 10_000, 1], rtol=1e-6)
    np.testing.assert_array_equal(scores[:, 0], np.arange(4))
    labels = jnp.full((4, 2), 10.0).at[:, 0].set(1)
    weights = jnp.full((4, 2), 0.25).at[3].set(0)
    costs = task_losses(outputs, labels, weights, chosen, ids)
    expected = [0, (0.5 - 0.05) ** 2, (0.5 - 0.0005) ** 2]
    assert costs[1] == pytest.approx(sum(expected) / 4, rel=1e-5)


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        (
            FIELDS,
            {},
            "loss.d2q.field is not set: the loss of watch needs a numeric field in buckets, one of "
            "duration, age",
        ),
        (FIELDS, {"d2q.field": "duratoin"}, "loss.d2q.field 'duratoin'. Did you mean 'duration'"),
        (
            FIELDS,
            {"d2q.field": "tags"},
            "loss.d2q.field='tags': the loss of watch needs a numeric field in buckets, one of "
            "duration, age; tags is a bag field",
        ),
        (FIELDS, {"d2q.field": "price"}, "one of duration, age; price is a standardised number"),
        (
            FIELDS[:1],
            {"d2q.field": "tags"},
            "loss.d2q.field: the loss of watch needs a numeric field in buckets, and data set "
            "'shop' has none",
        ),
        (
            FIELDS,
            {"d2q.field": "age", "d2q.quantiles": 1},
            "loss.d2q.quantiles=1: expected a whole number at least 2",
        ),
    ],
)
def test_what_is_wrong_is_told(fields, options, message):
    with pytest.raises(UserError) as caught:
        read(fields, **options)
    assert message in str(caught.value)


def test_without_quantiles_of_train_nothing_is_made_up():
    with pytest.raises(UserError, match="d2q has no quantiles yet"):
        D2Q(field="age").prediction(jnp.zeros(2), jnp.zeros(2, jnp.int32))
