"""Training with fields of every kind: against the loss, on one device as on many, and in parts."""

import functools

import jax
import numpy as np
import pytest
from every_field import SCHEMA, batch
from toy_steps import build, config, first_state, leaves, placed_run

from dtn_jax.run.step import make_train_chunk, make_train_step

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")

STEPS, RATE = 3, 0.5
MODEL = {
    "model__dtype": "float64",
    "model__architecture": "shared_bottom",
    "model__experts": "mlp",
    "model__dropout": 0.2,
    "model__histories": "viewed=din",
    "optim__tables": "sgd",
    "optim__table_learning_rate": RATE,
    "optim__learning_rate": 0.1,
    "optim__table_init": 1.0,  # near 0 a difference would step over the kinks of ReLU
    "optim__eps": 1e-4,
    "optim__clip": 0.5,
    "data__batch_size": 16,
    "data__eval_batch_size": 16,
    "parallel__devices": 1,
    "seed": 1,  # with 0 the ReLUs of one row are all off, and nothing moves its embeddings
}


def chunk():
    return jax.tree.map(lambda *a: np.stack(a), *(batch(seed=s) for s in range(STEPS)))


@functools.cache
def start():
    c = config(**MODEL)
    return first_state(c, *build(c, SCHEMA))


@functools.cache
def on_one_device():
    """(state, steps) -> the state and the losses after them, compiled once."""
    c = config(**MODEL)
    step = make_train_step(c, *build(c, SCHEMA), 100)
    run = jax.jit(make_train_chunk(step, STEPS))
    return lambda state, steps=STEPS: run(state, chunk(), steps)


PMAP = {"parallel__devices": 2, "parallel__strategy": "pmap", "train__accumulate": 2}


@pytest.mark.slow
@pytest.mark.parametrize(
    "way",
    [
        {"parallel__devices": 8, "parallel__table_devices": 4, "train__accumulate": 2},
        PMAP,
        pytest.param({"parallel__devices": 8}, marks=pytest.mark.nightly),
        pytest.param({"train__accumulate": 2}, marks=pytest.mark.nightly),
    ],
)
def test_on_many_devices_and_in_parts_the_numbers_are_one_devices(way):
    one, metrics = on_one_device()(start())
    many, metrics2 = placed_run(config(**MODEL | way), chunk(), SCHEMA, start())
    np.testing.assert_allclose(metrics2["losses"], metrics["losses"], rtol=1e-10)
    for a, b in zip(leaves(many), leaves(one), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_a_step_moves_rows_against_the_loss():
    """The move of plain SGD against differences of the loss, in a random direction."""
    state, plan = start(), build(config(**MODEL), SCHEMA)[1]

    def stepped(table):
        after, metrics = on_one_device()(state.replace(tables={"embedding": table}), 1)
        return np.asarray(after.tables["embedding"]), np.asarray(metrics["losses"])[0].sum()

    before = np.asarray(state.tables["embedding"])
    slope = (before - stepped(before)[0]) / RATE
    changed = plan.arrays["embedding"].in_order((slope != 0).any(axis=1))
    b = batch()
    real = (b.ids >= 0) & b.row_mask[:, None]
    named = (b.ids + np.asarray(plan.offsets[0]))[real]
    assert set(np.flatnonzero(changed)) == set(named.tolist())
    direction = np.random.default_rng(4).normal(size=before.shape)
    ends = [stepped(before + e * direction)[1] for e in (1e-6, -1e-6)]
    found = (slope * direction).sum()
    assert abs(found) > 1e-4
    np.testing.assert_allclose(found, (ends[0] - ends[1]) / 2e-6, rtol=1e-5)
