"""However a batch is split, over parts, devices or replicas, a balancer gives the same numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_steps import STEPS, batches, build, config, leaves

from dtn_jax.balancing import seam
from dtn_jax.checkpoint import Checkpoints
from dtn_jax.parallel.mesh import make_placement
from dtn_jax.state import create_state
from dtn_jax.step import make_train_chunk, make_train_step

MODEL = {
    "model__architecture": "shared_bottom",
    "model__dropout": 0.2,
    "model__dtype": "float64",
    "optim__eps": 1e-4,
    "optim__learning_rate": 0.03,
    "optim__clip": 0.5,
    "data__batch_size": 16,
    "data__eval_batch_size": 16,
    "loss__sample_weights": True,
    "loss__task_weights": "order=3",
    "optim__table_init": 0.5,
}
WAYS = {
    "4 parts": {"parallel__devices": 1, "train__accumulate": 4},
    "shard over 8": {"parallel__devices": 8},
    "shard over 4, 2 parts": {
        "parallel__devices": 4,
        "parallel__table_devices": 2,
        "train__accumulate": 2,
    },
    "pmap over 2, 2 parts": {
        "parallel__devices": 2,
        "parallel__strategy": "pmap",
        "train__accumulate": 2,
    },
}
QUICK = [
    ("pcgrad", "shard over 4, 2 parts"),
    ("pcgrad", "pmap over 2, 2 parts"),
    ("uncertainty", "shard over 4, 2 parts"),
]
SLOW = [("pcgrad", "4 parts"), ("pcgrad", "shard over 8"), ("uncertainty", "pmap over 2, 2 parts")]
CASES = [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]


def chunk():
    """Unlike numbers of rows and labels on each device and in each part."""
    rng = np.random.default_rng(3)
    given = batches()
    labels = rng.random(given.labels.shape) < 0.5
    return given.replace(
        labels=labels.astype(np.float32),
        label_mask=rng.random(given.label_mask.shape) < 0.7,
        row_mask=rng.random(given.row_mask.shape) < 0.8,
    )


def start(balancer, **changes):
    c = config(loss__balancing=balancer, **{**MODEL, "parallel__devices": 1, **changes})
    model, plan = build(c)
    at = make_placement(c)
    state = create_state(c, model, plan)
    state = jax.device_put(state, at.state(state))
    train_chunk = make_train_chunk(make_train_step(c, model, plan, 100, at.table_mesh), STEPS)
    return at, state, at.compile(train_chunk, state)


def train(balancer, **changes):
    at, state, train_chunk = start(balancer, **changes)
    state, metrics = train_chunk(state, at.put(chunk(), at.chunk()), STEPS)
    return leaves(state), metrics


@pytest.fixture(scope="module")
def at_once():
    """A balancer's numbers on one device."""

    @functools.cache
    def found(balancer):
        with jax.enable_x64(True):
            return train(balancer)

    return found


@pytest.mark.parametrize(("balancer", "way"), CASES)
def test_the_same_numbers(balancer, way, at_once, quick_to_compile):
    expected, metrics = at_once(balancer)
    assert np.ptp(np.asarray(metrics["task_weights"]), axis=0).max() > 1e-3  # it does something
    with jax.enable_x64(True):
        got, metrics2 = train(balancer, **WAYS[way])
    for name, values in metrics.items():
        np.testing.assert_allclose(metrics2[name], values, rtol=1e-9, atol=1e-12)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


def test_replicas_are_the_runs_that_they_would_be_alone(quick_to_compile):
    with jax.enable_x64(True):
        c = config(**MODEL, loss__balancing="pcgrad")
        model, plan = build(c)
        step = make_train_chunk(make_train_step(c, model, plan, 100), STEPS)
        seeds = [
            create_state(config(**MODEL, loss__balancing="pcgrad", seed=seed), model, plan)
            for seed in (0, 1)
        ]
        one = jax.jit(step)
        alone = [one(state, chunk(), STEPS) for state in seeds]
        together = jax.jit(jax.vmap(step, in_axes=(0, None, None)))
        found = together(jax.tree.map(lambda *a: jnp.stack(a), *seeds), chunk(), STEPS)
        for i in (0, 1):
            mine = jax.tree.map(lambda a, i=i: a[i], found)
            for a, b in zip(
                (*leaves(mine[0]), mine[1]["task_weights"]),
                (*leaves(alone[i][0]), alone[i][1]["task_weights"]),
                strict=True,
            ):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


def test_a_resumed_run_keeps_what_its_balancer_has_learned(tmp_path, quick_to_compile):
    at, state, train_chunk = start("uncertainty", model__dtype="float32")
    first, rest = (jax.tree.map(lambda a, s=s: np.roll(a, -s, axis=0), chunk()) for s in (0, 2))
    whole, _ = train_chunk(state, at.put(first, at.chunk()), 4)
    _, state, _ = start("uncertainty", model__dtype="float32")
    half, _ = train_chunk(state, at.put(first, at.chunk()), 2)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(2, half, {"best": {}})
    _, new, _ = start("uncertainty", model__dtype="float32")
    restored, _ = checkpoints.restore(new)
    checkpoints.close()
    assert np.abs(restored.params[seam.LEARNED]["log_variance"]).min() > 0
    resumed, _ = train_chunk(restored, at.put(rest, at.chunk()), 2)
    for a, b in zip(
        jax.tree.leaves((resumed.params, resumed.opt_state)),
        jax.tree.leaves((whole.params, whole.opt_state)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
