"""However a batch is split, over parts or devices, balancers and pairs see all of it."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from toy_steps import SCHEMA as TOY
from toy_steps import STEPS, batches, build, config, copied, first_state, leaves, placed_run

from dtn_jax.balancing import seam
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.step import make_train_chunk, make_train_step

pytestmark = pytest.mark.usefixtures("quick_to_compile", "float64")

SCHEMA = dataclasses.replace(TOY, group="user")
MODEL = {
    "model__architecture": "shared_bottom",
    "model__dropout": 0.2,
    "model__dtype": "float64",
    "optim__eps": 1e-3,
    "optim__clip": 0.5,
    "optim__learning_rate": 0.03,
    "optim__tables": "sgd",  # a row's step is its gradient
    "optim__table_init": 0.5,
    "data__batch_size": 16,
    "data__eval_batch_size": 16,
    "loss__sample_weights": True,
    "loss__task_weights": "order=3",
    "loss__positive_weights": "click=4",
    "parallel__devices": 1,
}
PAIRS = "click=2,order=0.5"
LOSSES = {
    "pcgrad": {"loss__balancing": "pcgrad"},
    "uncertainty": {"loss__balancing": "uncertainty"},
    "gls": {"loss__balancing": "gls"},
    "gradnorm": {"loss__balancing": "gradnorm", "loss__gradnorm__rate": 0.3},
    "stch": {"loss__balancing": "stch", "loss__stch__warmup": 1},
    "cagrad, shared": {"loss__balancing": "cagrad", "loss__cagrad__scope": "shared"},
    "gradnorm, shared": {
        "loss__balancing": "gradnorm",
        "loss__gradnorm__rate": 0.3,
        "loss__gradnorm__scope": "shared",
    },
    "pairs": {"loss__pairwise": PAIRS},
    "pairs, pcgrad": {"loss__pairwise": PAIRS, "loss__balancing": "pcgrad"},
    "pairs, uncertainty": {"loss__pairwise": PAIRS, "loss__balancing": "uncertainty"},
}
SHARD = {"parallel__devices": 4, "parallel__table_devices": 2}
PMAP = {"parallel__devices": 2, "parallel__strategy": "pmap"}
WAYS = {
    "4 parts": {"train__accumulate": 4},
    "shard over 8": {"parallel__devices": 8},
    "shard over 4": SHARD,
    "shard over 4, 2 parts": {**SHARD, "train__accumulate": 2},
    "pmap over 8": {"parallel__devices": 8, "parallel__strategy": "pmap"},
    "pmap over 2": PMAP,
    "pmap over 2, 2 parts": {**PMAP, "train__accumulate": 2},
}
QUICK = [("pairs", "pmap over 2"), ("cagrad, shared", "pmap over 2, 2 parts")]
SLOW = [
    ("pairs, pcgrad", "pmap over 2"),
    ("stch", "pmap over 2, 2 parts"),
    ("uncertainty", "pmap over 2, 2 parts"),
    ("pcgrad", "shard over 4, 2 parts"),
    ("gradnorm", "shard over 4, 2 parts"),
]
# The term of pairs does not go with parts.
EVERY = [(loss, way) for loss in LOSSES for way in WAYS if not ("pairs" in loss and "parts" in way)]
NIGHTLY = sorted({*EVERY[::3]} - {*QUICK, *SLOW})


def chunk():
    """Unlike numbers of rows, labels and groups on each device and in each part; and a step of no
    group twice."""
    rng = np.random.default_rng(3)
    given = batches()
    groups = rng.integers(-2, 3, given.row_mask.shape)
    groups[1] = np.arange(16)
    return given.replace(
        label_mask=rng.random(given.label_mask.shape) < 0.8,
        row_mask=rng.random(given.row_mask.shape) < 0.9,
        group=groups.astype(np.int64).view(np.int32).reshape(*groups.shape, 2),
    )


@functools.cache
def start(**losses):
    c = config(**MODEL, **losses)
    return first_state(c, *build(c, SCHEMA))


def train(losses, given=None, **way):
    """The state as a list of arrays, and the steps' metrics."""
    given = chunk() if given is None else given
    given = given if losses.get("loss__pairwise") else given.replace(group=None)
    c = config(**{**MODEL, **losses, **way})
    state, metrics = placed_run(c, given, SCHEMA, start(**losses))
    return leaves(state), metrics


@functools.cache
def at_once(name):
    """A loss's numbers on one device."""
    return train(LOSSES[name])


@pytest.mark.parametrize(
    ("losses", "way"),
    [
        *QUICK,
        *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW),
        *(pytest.param(*case, marks=pytest.mark.nightly) for case in NIGHTLY),
    ],
)
def test_the_same_numbers(losses, way):
    expected, metrics = at_once(losses)
    if "task_weights" in metrics:  # it does something
        assert np.ptp(np.asarray(metrics["task_weights"]), axis=0).max() > 1e-3
    got, metrics2 = train(LOSSES[losses], **WAYS[way])
    for name in {"losses", "task_weights"} & set(metrics):
        np.testing.assert_allclose(metrics2[name], metrics[name], rtol=1e-9, atol=1e-12)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
def test_pairs_add_to_a_steps_loss_and_where_there_are_none_it_is_the_plain_step():
    (both, metrics), (plain, metrics2) = at_once("pairs"), train({})
    first, alone = (np.asarray(found["losses"])[0] for found in (metrics, metrics2))
    assert ((first - alone) > 0.01).all()
    assert min(np.abs(a - b).max() for a, b in zip(both, plain, strict=True)) > 0
    apart = np.stack(np.broadcast_arrays(np.arange(16), np.zeros((STEPS, 16), int)), axis=-1)
    without, _ = train(LOSSES["pairs"], chunk().replace(group=apart.astype(np.int32)))
    for a, b in zip(without, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(
    "losses",
    [
        "gradnorm, shared",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("uncertainty", "gradnorm", "stch")),
    ],
)
def test_a_resumed_run_keeps_what_its_balancer_knows(losses, tmp_path):
    c = config(**MODEL, **LOSSES[losses])
    model, plan = build(c, SCHEMA)
    step = jax.jit(make_train_chunk(make_train_step(c, model, plan, 100), STEPS))
    state, given = start(**LOSSES[losses]), chunk().replace(group=None)
    rest = jax.tree.map(lambda a: np.roll(a, -2, axis=0), given)
    whole, _ = step(state, given, 4)
    half, _ = step(state, given, 2)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(2, half, {"best": {}})
    restored, _ = checkpoints.restore(copied(state))
    checkpoints.close()
    known = jax.tree.leaves((restored.params.get(seam.LEARNED), restored.balancing))
    assert min(np.abs(array).min() for array in known) > 0
    resumed, _ = step(restored, rest, 2)
    for a, b in zip(
        jax.tree.leaves((resumed.params, resumed.opt_state, resumed.balancing)),
        jax.tree.leaves((whole.params, whole.opt_state, whole.balancing)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
