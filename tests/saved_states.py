"""Small saved states: what was saved, what is restored, and damage to a checkpoint's files."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.state import State


def state_at(step):
    """A state that is another at each step; its table fills more than one piece of a checksum."""
    rng = np.random.default_rng(step)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    return State(
        step=jnp.asarray(step, jnp.int32),
        key=jax.random.key(step),
        params={"tower": {"kernel": draw(8, 4), "bias": draw(4)}},
        model_state={"mean": draw(4)},
        opt_state={"mu": draw(8, 4)},
        tables={"embedding": draw(4096, 128)},
        slots={"embedding": draw(4096)},
        hyper={"learning_rate": draw()},
    )


def progress_at(step):
    return {"best": {"mean": {"value": 0.5 + step / 10, "step": step}}, "waited": step}


def numbers(state):
    """All that a state holds, as lists of NumPy arrays."""
    key = jax.random.key_data(state.key)
    return jax.tree.map(np.asarray, state.replace(key=key))


def assert_equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, numbers(found), numbers(expected))


def restored(workdir, **given):
    checkpoints = Checkpoints(workdir)
    found = checkpoints.restore(state_at(0), **given)
    checkpoints.close()
    return found


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A workdir with last checkpoints of steps 1 and 2, and the best state of step 2."""
    workdir = tmp_path_factory.mktemp("saved")
    checkpoints = Checkpoints(workdir)
    for step in (1, 2):
        checkpoints.save_best(step, state_at(step))
        checkpoints.save(step, state_at(step), progress_at(step))
    checkpoints.close()
    return workdir


@pytest.fixture
def workdir(saved, tmp_path):
    """A copy, to be damaged."""
    return shutil.copytree(saved, tmp_path / "run")


def large_file(folder):
    """The file that holds the table."""
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
