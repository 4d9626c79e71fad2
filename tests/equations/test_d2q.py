"""D2Q: a label is its quantile in its group of durations, and a score is seconds again; the
quantiles of train's labels that stand in a run's schema."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from d2q_log import config, prepared_films

from configs.base import get_config
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.errors import UserError
from dtn_jax.losses import read_losses
from dtn_jax.losses.by_task import predictions, task_losses
from dtn_jax.losses.d2q import D2Q
from dtn_jax.losses.label_quantiles import quantiles_by_id
from dtn_jax.run.run import build_run
from dtn_jax.schema import Field, Schema, Task

pytestmark = pytest.mark.usefixtures("quick_to_compile")

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


def test_points_are_quantiles_of_the_groups_labels():
    for group in range(4):
        own = SECONDS[group == GROUPS]
        expected = np.quantile(own, np.linspace(0, 1, 40), method="inverted_cdf")
        np.testing.assert_array_equal(POINTS[group], expected)


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


predict = jax.jit(LOSS.prediction)


@pytest.mark.parametrize("precision", ["float64"], indirect=True)
def test_a_row_costs_the_squared_difference_of_quantiles(precision):
    y = np.append(SECONDS[:200], [-3, 0, 1e6, 7.25]).astype(np.float32)
    groups = np.append(GROUPS[:200], [0, 0, 1, 4]).astype(np.int32)
    z = 2 * np.random.default_rng(2).normal(size=len(y))
    p = 1 / (1 + np.exp(-z))
    u = np.array([quantile(one, POINTS[g]) for one, g in zip(y, groups)])
    assert ((u > 0) & (u < 1)).mean() > 0.9

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def slopes(z):
        costs = LOSS(z, jnp.asarray(y, float), 1.0, jnp.asarray(groups))
        return costs.sum(), costs

    slope, costs = slopes(z)
    precision.assert_close(costs, (p - u) ** 2)
    precision.assert_close(slope, 2 * (p - u) * p * (1 - p))


@pytest.mark.parametrize("precision", ["float32"], indirect=True)
def test_a_score_is_the_groups_quantile_in_seconds(precision):
    z = np.linspace(-9, 9, 300)
    for group in range(5):
        got = predict(z.astype(precision.dtype), np.full(300, group, np.int32))
        shares = np.linspace(0, 1, 40)
        precision.assert_close(got, np.interp(1 / (1 + np.exp(-z)), shares, POINTS[group]))
        assert (np.diff(got) >= 0).all()
        assert got.min() >= POINTS[group].min()
        assert got.max() <= np.float32(POINTS[group].max())


def test_far_scores_and_labels_leave_numbers_finite():
    z, y = np.array([1e4, -1e4, 1e4, -1e4], "f4"), np.array([1e30, 0.0, 0.0, 1e30], "f4")
    groups = np.array([0, 0, 4, 1], np.int32)

    @jax.jit
    @jax.value_and_grad
    def value(z):
        return LOSS(z, jnp.asarray(y), 1.0, jnp.asarray(groups)).sum()

    assert all(np.isfinite(found).all() for found in value(z))
    ends = [POINTS[0, -1], POINTS[0, 0], POINTS[4, -1], POINTS[1, 0]]
    np.testing.assert_allclose(predict(z, groups), ends, rtol=1e-6)


def test_losses_and_scores_read_the_bucket_of_each_row():
    """The fourth slot of the ids; padding rows, whose ids are -1, have numbers too."""
    chosen = read(**{"d2q.field": "duration", "d2q.quantiles": 3})
    ids = np.zeros((4, 6), np.int32)
    ids[:, 3] = [1, 2, 4, -1]
    labels, weights = np.full((4, 2), 10, "f4"), np.full((4, 2), 0.25, "f4")
    labels[:, 0], weights[3] = 1, 0

    @jax.jit
    def found(outputs):
        return predictions(outputs, chosen, ids), task_losses(
            outputs, jnp.asarray(labels), jnp.asarray(weights), chosen, jnp.asarray(ids)
        )

    scores, costs = found({"click": np.arange(4, dtype="f4"), "watch": np.zeros(4, "f4")})
    np.testing.assert_allclose(scores[:, 1], [10, 100, 10_000, 1], rtol=1e-6)
    np.testing.assert_array_equal(scores[:, 0], np.arange(4))
    expected = [0, (0.5 - 0.05) ** 2, (0.5 - 0.0005) ** 2]
    assert costs[1] == pytest.approx(sum(expected) / 4, rel=1e-5)


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        (FIELDS, {}, "loss.d2q.field is not set: the loss of watch needs a numeric field"),
        (FIELDS, {"d2q.field": "duratoin"}, "loss.d2q.field 'duratoin'. Did you mean 'duration'"),
        (FIELDS, {"d2q.field": "tags"}, "one of duration, age; tags is a bag field"),
        (FIELDS, {"d2q.field": "price"}, "one of duration, age; price is a standardised number"),
        (FIELDS[:1], {"d2q.field": "tags"}, "data set 'shop' has none"),
    ],
)
def test_what_is_wrong_is_told(fields, options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        read(fields, **options)


def test_without_quantiles_of_train_nothing_is_made_up():
    with pytest.raises(UserError, match="d2q has no quantiles yet"):
        D2Q(field="age").prediction(jnp.zeros(2), jnp.zeros(2, jnp.int32))


# Those of train's labels, in a run's schema.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("films")
    prepared_films(made, 4000)
    return made


@pytest.fixture
def changed_rows(monkeypatch):
    """Reads rows as `change(rows)` makes them, {attribute: array}."""
    real = SplitReader.read

    def use(change):
        def read(self, records):
            rows = real(self, records)
            return dataclasses.replace(rows, **change(rows))

        monkeypatch.setattr(SplitReader, "read", read)

    return use


def test_they_are_those_of_trains_known_labels(folder):
    run = build_run(config(folder))
    train = SplitReader(run.data, "train").everything()
    known = train.label_mask[:, 1]
    ids, labels = train.ids[known, 1], train.labels[known, 1]
    assert 0.7 < len(labels) / run.data.rows["train"] < 0.9
    rows = run.schema.fields[1].rows
    expected = quantiles_by_id(ids, labels, np.ones(len(ids), np.float32), rows, 100)
    assert np.diff(np.bincount(ids)[1:]).any()
    np.testing.assert_array_equal(run.schema.tasks[1].quantiles, expected)
    assert run.schema.tasks[0].quantiles == ()
    assert Schema.from_json(run.schema.to_json()) == run.schema


def test_a_run_without_d2q_keeps_the_sets_schema_and_reads_no_row(folder, changed_rows):
    changed_rows(lambda rows: pytest.fail("rows are read"))
    run = build_run(config(folder, loss__tasks="watch=huber"))
    assert run.schema == run.data.schema
    assert "quantiles" not in run.schema.to_json()


def test_a_task_without_labels_is_told(folder, changed_rows):
    changed_rows(lambda rows: {"label_mask": np.zeros_like(rows.label_mask)})
    with pytest.raises(UserError, match="train has no label of 'watch', whose loss needs its"):
        build_run(config(folder))
