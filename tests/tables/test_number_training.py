"""Training with embedded numbers: every parameter moves, and many devices compute what one does."""

import functools

import jax
import numpy as np
import pytest
from number_batches import EMBEDDINGS, SCHEMA, batch
from toy_steps import build, config, leaves

from dtn_jax.parallel.mesh import make_placement
from dtn_jax.state import create_state
from dtn_jax.step import make_train_chunk, make_train_step

pytestmark = pytest.mark.usefixtures("quick_to_compile")

STEPS, RATE = 3, 0.1
slow = pytest.mark.slow


def train(way, architecture="shared_bottom"):
    """The state before and after some steps, and the losses."""
    c = config(
        model__dtype="float64", model__architecture=architecture, model__experts="mlp",
        optim__table_init=1.0, optim__table_l2=1e-3, optim__learning_rate=RATE, optim__clip=0.5,
        data__batch_size=64, data__eval_batch_size=64, **way,
    )  # fmt: skip
    model, plan = build(c, SCHEMA)
    at = make_placement(c)
    state = create_state(c, model, plan)
    before = jax.tree.map(np.asarray, state.params)
    step = make_train_step(c, model, plan, 10, at.table_mesh)
    chunk = jax.tree.map(lambda *a: np.stack(a), *(batch(seed=s) for s in range(STEPS)))
    state = jax.device_put(state, at.state(state))
    compiled = at.compile(make_train_chunk(step, STEPS), state)
    after, metrics = compiled(state, at.put(chunk, at.chunk()), STEPS)
    return before, after, np.asarray(metrics["losses"])


@functools.cache
def on_one_device():
    return train({"parallel__devices": 1})


def test_every_parameter_of_every_view_is_trained():
    with jax.enable_x64(True):
        before, after, _ = train({"parallel__devices": 1}, "single_task")
        for view in ("click", "order"):
            was, now = (p[f"numbers_{view}"] for p in (before, after.params))
            assert set(was) == set(EMBEDDINGS)
            for a, b in zip(jax.tree.leaves(was), jax.tree.leaves(now), strict=True):
                assert a.dtype == np.float64
                assert (np.abs(np.asarray(b) - a) > 1e-6).mean() > 0.9


@pytest.mark.parametrize(
    "way",
    [
        {"parallel__devices": 8, "parallel__table_devices": 4},
        pytest.param({"parallel__devices": 2, "parallel__strategy": "pmap"}, marks=slow),
        pytest.param({"parallel__devices": 1, "train__accumulate": 2}, marks=slow),
    ],
)
def test_on_many_devices_and_in_parts_the_numbers_are_one_devices(way):
    with jax.enable_x64(True):
        _, one, losses = on_one_device()
        _, many, losses2 = train(way)
        np.testing.assert_allclose(losses2, losses, rtol=1e-10)
        for a, b in zip(leaves(many), leaves(one), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
