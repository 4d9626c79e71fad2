"""Pooling of bags against loops, what must not change it, and the gradients that reach the rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_steps import config, leaves

from dtn_jax.interface import Batch
from dtn_jax.models import build as architectures
from dtn_jax.parallel.mesh import make_placement
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.state import create_state
from dtn_jax.step import make_train_chunk, make_train_step
from dtn_jax.tables.plan import make_plan
from dtn_jax.tables.pooling import pool

ROWS = 12
SCHEMA = Schema(
    "bags",
    (
        Field("user", rows=ROWS),
        Field("sum", "bag", rows=ROWS, slots=5, weighted=True),
        Field("mean", "bag", rows=ROWS, slots=4, pooling="mean", weighted=True),
        Field("plain sum", "bag", rows=ROWS, slots=3),
        Field("plain mean", "bag", rows=ROWS, slots=4, pooling="mean"),
        Field("max", "bag", rows=ROWS, slots=3, pooling="max"),
        Field("one", "bag", rows=ROWS, slots=1, weighted=True),
        Field("price", "numeric", rows=2, standardised=True),
    ),
    (Task("click"), Task("order", upstream=("click",))),
)
FIRST = dict(zip(SCHEMA.field_names, np.cumsum([0, *[f.slots for f in SCHEMA.fields]])))


def batch(size=64, seed=0, dtype=np.float64):
    """Random bags, padded anywhere; the first rows' are empty. No id is 0."""
    rng = np.random.default_rng(seed)
    limits = np.asarray([f.rows for f in SCHEMA.slot_fields()])
    ids = rng.integers(1, limits, (size, SCHEMA.slots))
    slots = np.asarray([f.kind == "bag" for f in SCHEMA.slot_fields()])
    ids[(rng.random(ids.shape) < 0.4) & slots] = -1
    ids[:2, slots] = -1
    labels = np.sort(rng.random((size, 2)) < 0.5, axis=1)[:, ::-1]
    return Batch(
        ids=ids.astype(np.int32),
        weights=rng.normal(1, 1, (size, SCHEMA.weighted_slots)).astype(dtype),
        numeric=rng.normal(size=(size, 1)).astype(dtype),
        labels=labels.astype(dtype),
        label_mask=np.ones((size, 2), bool),
        sample_weight=np.ones(size, dtype),
        row_mask=np.ones(size, bool),
    )


def rows_of(b, seed=1, dim=3):
    """Rows as a look-up gives them: zeros for padding."""
    drawn = np.random.default_rng(seed).normal(size=(*b.ids.shape, dim))
    return np.where(b.ids[:, :, None] >= 0, drawn, 0)


@jax.jit
def pooled(b, rows):
    return pool(SCHEMA, rows, b)


def pooled_by_loops(b, rows):
    fields, weight, out = SCHEMA.fields, 0, np.zeros((len(rows), len(SCHEMA.fields), 3))
    for f, field in enumerate(fields):
        for i in range(len(rows)):
            bag = []
            for s in range(field.slots):
                if b.ids[i, FIRST[field.name] + s] >= 0:
                    w = b.weights[i, weight + s] if field.weighted else 1.0
                    bag.append((w, rows[i, FIRST[field.name] + s]))
            if not bag:
                continue
            total = sum(w * r for w, r in bag)
            if field.pooling == "mean":
                total = total / sum(w for w, _ in bag)
            if field.pooling == "max":
                total = np.max([r for _, r in bag], axis=0)
            out[i, f] = total * (b.numeric[i, 0] if field.standardised else 1)
        weight += field.slots * field.weighted
    return out


def test_pooling_against_loops(precision):
    b = batch(dtype=precision.dtype)
    rows = rows_of(b).astype(precision.dtype)
    got = pooled(b, rows)
    precision.assert_close(got, pooled_by_loops(b, rows))
    np.testing.assert_array_equal(got[:2, 1:7], 0)  # empty bags


def test_fields_of_one_id_are_not_touched():
    schema = Schema("plain", (Field("a", rows=5), Field("b", "bag", rows=5)), (Task("click"),))
    rows = jnp.ones((4, 2, 3))
    b = batch(4)
    assert pool(schema, rows, b.replace(ids=b.ids[:, :2])) is rows


def test_the_order_of_a_bag_changes_nothing():
    b = batch()
    rows, rng = rows_of(b), np.random.default_rng(2)
    ids, weights, moved = b.ids.copy(), b.weights.copy(), rows.copy()
    weight = 0
    for field in SCHEMA.fields:
        order, at = rng.permutation(field.slots), FIRST[field.name]
        ids[:, at : at + field.slots] = b.ids[:, at + order]
        moved[:, at : at + field.slots] = rows[:, at + order]
        if field.weighted:
            weights[:, weight : weight + field.slots] = b.weights[:, weight + order]
            weight += field.slots
    with jax.enable_x64(True):
        got = pooled(b.replace(ids=ids, weights=weights), moved)
        np.testing.assert_allclose(got, pooled(b, rows), rtol=1e-10, atol=1e-12)


def test_padding_changes_nothing_whatever_its_weight():
    b = batch()
    weighted = np.concatenate(
        [
            FIRST[f.name] + np.arange(f.slots) if f.weighted else np.empty(0, int)
            for f in SCHEMA.fields
        ]
    )
    wild = np.where(b.ids[:, weighted] < 0, np.nan, b.weights)
    masked = b.row_mask.copy()
    masked[5] = False
    wild[5] = np.nan
    rows = rows_of(b)
    rows[5] = 0  # as a look-up gives those of a masked row
    got = pooled(b.replace(weights=wild, row_mask=masked), rows)
    np.testing.assert_array_equal(got[5, :7], 0)
    np.testing.assert_array_equal(got, pooled(b.replace(row_mask=masked), rows))


def test_a_mean_of_weights_that_sum_to_zero_is_the_zero_vector():
    b = batch(4)
    at = FIRST["mean"]
    ids, weights = b.ids.copy(), b.weights.copy()
    ids[3, at : at + 4] = [1, 2, -1, 3]
    weights[3, 5:9] = [1.0, 1.0, 7.0, -2.0]

    def summed(rows):
        vectors = pooled(b.replace(ids=ids, weights=weights), rows)
        return vectors[:, 2].sum(), vectors

    gradient, vectors = jax.jit(jax.grad(summed, has_aux=True))(jnp.asarray(rows_of(b)))
    np.testing.assert_array_equal(vectors[3, 2], 0)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[3], 0)


def test_gradients_are_weighted_as_the_rows_are():
    b = batch()
    rows = rows_of(b)
    scale = np.random.default_rng(3).normal(size=(64, len(SCHEMA.fields), 3))
    with jax.enable_x64(True):
        got = jax.jit(jax.grad(lambda r: (scale * pooled(b, r)).sum()))(jnp.asarray(rows))
    got = np.where(b.ids[:, :, None] >= 0, got, 0)  # padding has no row to update
    present = b.ids >= 0
    expected, weight = np.zeros_like(rows), 0
    for f, field in enumerate(SCHEMA.fields):
        at = slice(FIRST[field.name], FIRST[field.name] + field.slots)
        share = np.where(present[:, at], 1.0, 0.0)
        if field.weighted:
            share = share * b.weights[:, weight : weight + field.slots]
            weight += field.slots
        if field.pooling == "mean":
            total = share.sum(1, keepdims=True)
            share = np.divide(share, total, out=np.zeros_like(share), where=total != 0)
        share = np.broadcast_to(share[:, :, None], (*share.shape, 3))
        if field.pooling == "max":
            bag = np.where(present[:, at, None], rows[:, at], -np.inf)
            share = (bag == bag.max(1, keepdims=True)) & present[:, at, None]
        if field.standardised:
            share = share * b.numeric[:, 0][:, None, None]
        expected[:, at] = share * scale[:, f][:, None]
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


def test_hcnet_pairs_the_slots_of_fields_of_one_id():
    plan = make_plan(SCHEMA, config().model, ("shared",), 1)
    assert plan.codebook_slots == (FIRST["user"], FIRST["one"])


STEPS, RATE = 3, 0.5


def train(way, **changes):
    """The state before and after some steps on bags, and the losses."""
    c = config(
        model__dtype="float64", model__architecture="shared_bottom", model__experts="mlp",
        optim__tables="sgd", optim__table_learning_rate=RATE,
        optim__table_init=1.0,  # near 0 a difference would step over the kinks of ReLU
        data__batch_size=64, data__eval_batch_size=64, **way, **changes,
    )  # fmt: skip
    plan = make_plan(SCHEMA, c.model, ("shared",), 0)
    model = architectures.build(c.model, SCHEMA, False)
    at = make_placement(c)
    state = create_state(c, model, plan)
    before = jax.tree.map(np.array, state.tables)
    step = make_train_step(c, model, plan, 10, at.table_mesh)
    chunk = jax.tree.map(lambda *a: np.stack(a), *(batch(seed=s) for s in range(STEPS)))
    state = jax.device_put(state, at.state(state))
    compiled = at.compile(make_train_chunk(step, STEPS), state)

    def run(tables, count):
        started = jax.tree.map(jnp.copy, state.replace(tables=tables))  # it is consumed
        started = jax.device_put(started, at.state(state))
        after, metrics = compiled(started, at.put(chunk, at.chunk()), count)
        return after, np.asarray(metrics["losses"])

    return before, run


@functools.cache
def on_one_device():
    return train({"parallel__devices": 1})


def test_a_step_moves_the_rows_of_bags_against_the_loss():
    """The move of plain SGD against differences of the loss, in a random direction."""
    with jax.enable_x64(True):
        before, run = on_one_device()
        after, _ = run(before, 1)
        changed = (np.asarray(after.tables["embedding"]) != before["embedding"]).any(axis=1)
        firsts = np.cumsum([0, *[f.rows for f in SCHEMA.fields]])
        tables = np.repeat(firsts[:-1], [f.slots for f in SCHEMA.fields])
        named = (batch().ids + tables)[batch().ids >= 0]
        assert set(np.flatnonzero(changed)) <= set(named.tolist())
        assert changed.sum() > 50
        direction = np.random.default_rng(4).normal(size=before["embedding"].shape)
        slope = -(np.asarray(after.tables["embedding"]) - before["embedding"]) / RATE
        moved = [
            run(before | {"embedding": before["embedding"] + e * direction}, 1)[1][0].sum()
            for e in (1e-5, -1e-5)
        ]
        found = (slope * direction).sum()
        assert abs(found) > 1e-4
        np.testing.assert_allclose(found, (moved[0] - moved[1]) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize(
    "way",
    [
        {"parallel__devices": 8, "parallel__table_devices": 4},
        {"parallel__devices": 2, "parallel__strategy": "pmap"},
    ],
)
def test_bags_on_many_devices_and_in_parts_give_one_devices_numbers(way):
    with jax.enable_x64(True):
        before, run = on_one_device()
        one, losses = run(before, STEPS)
        _, run = train(way, train__accumulate=2)
        many, losses2 = run(before, STEPS)
        np.testing.assert_allclose(losses2, losses, rtol=1e-10)
        for a, b in zip(leaves(many), leaves(one), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
