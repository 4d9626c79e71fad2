"""However a batch lies on devices, the term of pairs is of the whole batch, and is balanced."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_steps import SCHEMA as TOY
from toy_steps import STEPS, batches, build, config, leaves

from dtn_jax.errors import UserError
from dtn_jax.losses import pairwise
from dtn_jax.parallel.mesh import make_placement
from dtn_jax.state import create_state
from dtn_jax.step import make_train_chunk, make_train_step

SCHEMA = dataclasses.replace(TOY, group="user")
MODEL = {
    "model__architecture": "shared_bottom",
    "model__dropout": 0.2,
    "model__dtype": "float64",
    "optim__eps": 1e-2,
    "optim__tables": "sgd",  # a row's step is its gradient
    "optim__table_init": 0.5,
    "data__batch_size": 16,
    "data__eval_batch_size": 16,
    "loss__sample_weights": True,
    "loss__positive_weights": "click=4",
    "loss__pairwise": "click=2,order=0.5",
}
WAYS = {
    "shard over 8": {"parallel__devices": 8},
    "shard over 4, tables over 2": {"parallel__devices": 4, "parallel__table_devices": 2},
    "pmap over 8": {"parallel__devices": 8, "parallel__strategy": "pmap"},
    "pmap over 2": {"parallel__devices": 2, "parallel__strategy": "pmap"},
}
QUICK = [("none", "shard over 8"), ("none", "pmap over 8"), ("pcgrad", "pmap over 2")]
SLOW = [
    ("none", "shard over 4, tables over 2"),
    ("pcgrad", "shard over 8"),
    ("uncertainty", "shard over 8"),
    ("uncertainty", "pmap over 2"),
]
CASES = [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def chunk():
    """Unlike numbers of rows, labels and groups on each device; a step of no group twice."""
    rng = np.random.default_rng(3)
    given = batches()
    groups = rng.integers(-2, 3, given.row_mask.shape)
    groups[1] = np.arange(16)
    return given.replace(
        label_mask=rng.random(given.label_mask.shape) < 0.8,
        row_mask=rng.random(given.row_mask.shape) < 0.9,
        group=groups.astype(np.int64).view(np.int32).reshape(*groups.shape, 2),
    )


def train(balancing, given=None, **changes):
    """The state and the steps' metrics."""
    c = config(**{**MODEL, "parallel__devices": 1, "loss__balancing": balancing, **changes})
    model, plan = build(c, SCHEMA)
    at = make_placement(c)
    state = create_state(c, model, plan)
    state = jax.device_put(state, at.state(state))
    train_chunk = make_train_chunk(make_train_step(c, model, plan, 100, at.table_mesh), STEPS)
    chunk_ = at.put(chunk() if given is None else given, at.chunk())
    state, metrics = at.compile(train_chunk, state)(state, chunk_, STEPS)
    return leaves(state), metrics


@pytest.fixture(scope="module")
def at_once():
    """A balancer's numbers on one device."""
    return functools.cache(train)


@pytest.mark.parametrize(("balancing", "way"), CASES)
def test_the_same_numbers(balancing, way, at_once, quick_to_compile):
    expected, metrics = at_once(balancing)
    got, metrics2 = train(balancing, **WAYS[way])
    for name in ("losses", "task_weights") if balancing != "none" else ("losses",):
        np.testing.assert_allclose(metrics2[name], metrics[name], rtol=1e-12, atol=1e-12)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_the_loss_of_a_step_is_the_sum_of_both_terms_and_moves_the_model(at_once, quick_to_compile):
    """Of the first step, since later ones begin elsewhere."""
    runs = [at_once("none"), *(train("none", loss__pairwise=text) for text in ("", "order=0.5"))]
    both, plain, alone = (metrics["losses"][0] for _, metrics in runs)
    assert ((both - plain) > 0.01).all()
    assert (alone[0], alone[1]) == (plain[0], both[1])
    moved = [np.abs(a - b).max() for a, b in zip(runs[1][0], runs[2][0], strict=True)]
    assert max(moved) > 1e-4
    assert min(moved) > 0  # of the other task too, by what they share


def test_a_step_without_pairs_is_that_of_a_run_without_the_term(quick_to_compile):
    apart = np.stack(np.broadcast_arrays(np.arange(16), np.zeros((STEPS, 16), int)), axis=-1)
    expected = train("none", loss__pairwise="")
    got = train("none", chunk().replace(group=apart.astype(np.int32)))
    for a, b in zip(got[0], expected[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.slow
def test_replicas_are_the_runs_that_they_would_be_alone(quick_to_compile, monkeypatch):
    """In each, groups reach over another number of blocks."""
    monkeypatch.setattr(pairwise, "BLOCK", 4)
    c = config(**MODEL)
    model, plan = build(c, SCHEMA)
    step = make_train_chunk(make_train_step(c, model, plan, 100), STEPS)
    one = chunk()
    chunks = [one, one.replace(group=np.zeros_like(one.group))]
    state = create_state(c, model, plan)
    alone = [jax.jit(step)(state, given, STEPS)[1]["losses"] for given in chunks]
    together = jax.jit(jax.vmap(step, in_axes=(None, 0, None)))
    both = jax.tree.map(lambda *a: jnp.stack(a), *chunks)
    found = together(state, both, STEPS)[1]["losses"]
    assert not np.allclose(*alone)
    np.testing.assert_allclose(found, np.stack(alone), rtol=1e-9, atol=1e-12)


def test_a_batch_in_parts_is_refused():
    with pytest.raises(UserError, match=r"does not go with train.accumulate=2"):
        train("none", train__accumulate=2)
