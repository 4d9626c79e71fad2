"""docs/examples/my_balancer.py against NumPy, and however a batch is split."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example_files import load
from toy_steps import STEPS, batches, build, config, leaves

from dtn_jax.parallel.mesh import make_placement
from dtn_jax.state import create_state
from dtn_jax.step import make_train_chunk, make_train_step

pytestmark = pytest.mark.usefixtures("unload", "quick_to_compile")
WAYS = {
    "2 parts": {"parallel__devices": 1, "train__accumulate": 2},
    "shard over 8": {"parallel__devices": 8},
    "pmap over 2, 2 parts": {
        "parallel__devices": 2,
        "parallel__strategy": "pmap",
        "train__accumulate": 2,
    },
}
QUICK = "pmap over 2, 2 parts"
CASES = [QUICK, *(pytest.param(way, marks=pytest.mark.slow) for way in WAYS if way != QUICK)]


@pytest.mark.parametrize("strength", [1.0, 0.5, 0.0])
def test_it_lengthens_all_gradients_to_the_longest(strength, precision):
    g = np.random.default_rng(0).normal(size=(3, 5)) * [[1], [4], [0.1]]
    length = np.linalg.norm(g, axis=1)
    owner = load("my_balancer")(strength=strength)
    c = owner.coefficients(jnp.asarray(g @ g.T, precision.dtype), jax.random.key(0))
    precision.assert_close(c, (length.max() / length) ** strength)
    g[1] = 0
    c = owner.coefficients(jnp.asarray(g @ g.T, precision.dtype), jax.random.key(0))
    assert c[1] == 1
    assert np.isfinite(c).all()


def train(**changes):
    """What `STEPS` steps leave, and their metrics; rows and labels of each part differ."""
    changes = {"parallel__devices": 1, **changes}
    c = config(
        loss__balancing="equal_lengths",
        loss__task_weights="order=3",
        model__architecture="shared_bottom",
        model__dtype="float64",
        optim__table_init=0.5,
        data__batch_size=16,
        data__eval_batch_size=16,
        **changes,
    )
    model, plan = build(c)
    at, state = make_placement(c), create_state(c, model, plan)
    state = jax.device_put(state, at.state(state))
    steps = make_train_chunk(make_train_step(c, model, plan, 100, at.table_mesh), STEPS)
    rng, given = np.random.default_rng(3), batches()
    given = given.replace(
        label_mask=rng.random(given.label_mask.shape) < 0.7,
        row_mask=rng.random(given.row_mask.shape) < 0.8,
    )
    state, metrics = at.compile(steps, state)(state, at.put(given, at.chunk()), STEPS)
    return leaves(state), np.asarray(metrics["task_weights"])


at_once = functools.cache(train)  # on one device


@pytest.mark.parametrize("way", CASES)
def test_the_same_numbers_however_a_batch_is_split(way):
    load("my_balancer")
    with jax.enable_x64(True):
        expected, weights = at_once()
        got, other = train(**WAYS[way])
    assert (weights.max(axis=1) > 1.01).all()  # it does something
    np.testing.assert_allclose(other, weights, rtol=1e-9)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)
