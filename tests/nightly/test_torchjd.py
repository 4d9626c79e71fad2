"""Balancers against TorchJD 0.18, in the environment of peers: `make peers`.

Where its solver is exact the coefficients are the same to 1e-6, but for a factor that is ours;
where it iterates, our objective is no worse than within 1e-6.
"""

import json
import os
import pathlib
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtn_jax.balancing import BALANCERS
from dtn_jax.balancing.balancer import Seen
from dtn_jax.schema import Task

HERE = pathlib.Path(__file__).parent
PYTHON = pathlib.Path(os.environ.get("PEERS_VENV", HERE.parents[1] / ".venv-peers")) / "bin/python"
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.skipif(not PYTHON.exists(), reason="no TorchJD: make peers, or PEERS_VENV=FOLDER"),
    pytest.mark.usefixtures("float64"),
]
TASKS, DRAWS, N = (2, 3, 7), 20, 30
EXACT = {"pcgrad": 1, "gradvac": 1, "aligned_mtl": "T", "imtl_g": "T", "upgrad": "T"}


def drawn():
    rng, found = np.random.default_rng(0), []
    for tasks in TASKS:
        for _ in range(DRAWS):
            common = rng.normal() * rng.normal(size=N)  # some agree, some disagree
            sizes = np.exp(rng.normal(size=(tasks, 1)))
            found.append(sizes * (rng.normal(size=(tasks, N)) + common))
    return found


@pytest.fixture(scope="module")
def peers():
    """The gradients and losses, and what TorchJD makes of them."""
    gradients = drawn()
    losses = [np.linalg.norm(g, axis=1) for g in gradients]
    given = {
        "gradients": [g.tolist() for g in gradients],
        "losses": [own.tolist() for own in losses],
    }
    words = [str(PYTHON), str(HERE / "torchjd_weights.py")]
    done = subprocess.run(
        words, input=json.dumps(given), capture_output=True, text=True, check=True
    )
    return gradients, losses, json.loads(done.stdout)


def ours(name, g):
    method = BALANCERS[name]()
    state = method.init_state(tuple(Task(f"t{i}") for i in range(len(g))))
    combine = jax.jit(method.coefficients)
    return np.asarray(combine(jnp.asarray(g @ g.T), None, state, jax.random.key(0)))


def pairs(peers, name):
    """(gradients, our coefficients, TorchJD's) of each draw."""
    gradients, _, found = peers
    for g, theirs in zip(gradients, found["coefficients"]):
        if name in theirs:
            yield g, ours(name, g), np.array(theirs[name])


@pytest.mark.parametrize("name", EXACT)
def test_exact_methods_are_the_same(peers, name):
    count = 0
    for g, own, theirs in pairs(peers, name):
        if name == "imtl_g" and (own == 1).all():
            continue  # where its equation goes against a task: a rule of ours
        times = len(g) if EXACT[name] == "T" else 1
        expected = times * theirs @ g
        np.testing.assert_allclose(own @ g, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
        count += 1
    assert count >= DRAWS


def test_mgda_is_no_longer(peers):
    for g, own, theirs in pairs(peers, "mgda"):
        shortest = np.linalg.norm(own @ g) / len(g)
        assert shortest <= np.linalg.norm(theirs @ g) * (1 + 1e-6)


def test_cagrad_helps_the_worst_task_no_less(peers):
    for g, own, theirs in pairs(peers, "cagrad"):
        worst = (g @ (own @ g)).min() / len(g)
        assert worst >= (g @ (theirs @ g)).min() - 1e-6 * np.sum(g**2)


@pytest.mark.parametrize(("name", "power"), [("nash_mtl", 1.0), ("fairgrad", 0.5)])
def test_fair_methods_shares_are_no_less_alike(peers, name, power):
    """(G c)_t c_t^power, which are equal at the solution."""

    def spread(g, c):
        shares = (g @ g.T @ c) * c**power
        return np.ptp(shares) / np.abs(shares).max()

    near = 0
    for g, own, theirs in pairs(peers, name):
        assert spread(g, own) <= spread(g, theirs) + 1e-6
        own, theirs = (c / np.linalg.norm(c @ g) for c in (own, theirs))
        near += np.abs(own @ g - theirs @ g).max() < 1e-2
    assert near > len(TASKS) * DRAWS / 2  # its iterations come near too


def test_weights_from_losses_are_the_same(peers):
    _, losses, found = peers
    for own, gls, dwa in zip(losses, found["gls"], found["dwa"]):
        tasks = tuple(Task(f"t{i}") for i in range(len(own)))
        key, rows = jax.random.key(0), jnp.ones(len(own), int)
        got = BALANCERS["gls"]().weights({}, jnp.asarray(own), {}, key, tasks)
        np.testing.assert_allclose(got, len(own) * np.array(gls), rtol=1e-6)
        method = BALANCERS["dwa"](period=1)
        state = method.init_state(tasks)
        for step, period in enumerate((own, np.array([own[0] / 2, *own[1:]]))):
            seen = Seen(jnp.asarray(period), rows, None, None, jnp.asarray(step), key)
            state = method.update(state, seen)
        np.testing.assert_allclose(method.weights({}, None, state, key, tasks), dwa, rtol=1e-6)
