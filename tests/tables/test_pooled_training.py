"""Training moves the rows of bags against the loss, on one device as on many."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bag_batches import SCHEMA, batch
from toy_steps import config, leaves

from dtn_jax.models import build as architectures
from dtn_jax.parallel.mesh import make_placement
from dtn_jax.state import create_state
from dtn_jax.step import make_train_chunk, make_train_step
from dtn_jax.tables.plan import make_plan

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
        plan = make_plan(SCHEMA, config().model, ("shared",), 0)
        changed = plan.arrays["embedding"].in_order(changed)
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
