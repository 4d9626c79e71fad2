"""Checkpoints restore exactly what was saved; what is damaged is refused."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from damaged_bytes import flip, large_file

from dtn_jax.errors import UserError
from dtn_jax.files import HASHES
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.replicas import start_together
from dtn_jax.run.state import State
from dtn_jax.run.train import Member
from dtn_jax.run.workdir import Workdir


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


def test_what_was_saved_is_restored(saved, capsys):
    state, progress = restored(saved)
    assert_equal(state, state_at(2))
    assert progress == progress_at(2)
    assert capsys.readouterr().out == ""


def test_one_that_was_not_saved_whole_is_dropped(workdir):
    """The process was killed before it wrote the hashes."""
    for step in (2, 1):
        folder = workdir / f"checkpoints/last/{step}"
        (folder / HASHES).rename(folder / f"{HASHES}.1f.tmp")
        found = restored(workdir)
        assert not folder.exists()
        if step == 2:
            assert_equal(found[0], state_at(1))
    assert found is None


def test_a_whole_checkpoint_that_does_not_fit_is_no_damage(workdir):
    like = state_at(0).replace(tables={"codebook": jnp.zeros((4096, 128))})
    checkpoints = Checkpoints(workdir)
    with pytest.raises(UserError, match=r"^checkpoint .*last/2 cannot be read: .*"):
        checkpoints.restore(like)
    checkpoints.close()


# A damaged checkpoint.


HARMS = {
    "saved (it has {:,} bytes, expected {:,})": lambda path: path.write_bytes(
        path.read_bytes()[:-1]
    ),
    "has changed since it was saved (its SHA-256 is another)": lambda path: flip(path, 99),
    " is missing.": lambda path: path.unlink(),
}


@pytest.mark.parametrize("wrong", HARMS)
def test_a_damaged_one_is_named_and_the_one_before_is_used_once_it_is_deleted(workdir, wrong):
    folder = workdir / "checkpoints/last/2"
    path = large_file(folder)
    told = wrong.format(path.stat().st_size - 1, path.stat().st_size)
    HARMS[wrong](path)
    with pytest.raises(UserError) as error:
        restored(workdir)
    assert f"{folder} is damaged: {path.relative_to(folder)}" in str(error.value)
    assert told in str(error.value)
    assert "delete that folder: the run goes on from the one before" in str(error.value)
    shutil.rmtree(folder)
    state, progress = restored(workdir)
    assert_equal(state, state_at(1))
    assert progress == progress_at(1)


def test_files_that_no_number_is_read_from_may_be_added(workdir, capsys):
    (workdir / "checkpoints/last/2/default/.nfs0001").write_bytes(b"\0")
    (workdir / "checkpoints/last/2/default/d/commit_success.txt").write_text("done")
    assert_equal(restored(workdir)[0], state_at(2))
    assert capsys.readouterr().out == ""


def test_a_step_asked_for_is_read_and_later_ones_are_dropped(workdir):
    assert_equal(restored(workdir, step=1)[0], state_at(1))
    assert_equal(restored(workdir)[0], state_at(1))


# A damaged best state.


def best_of(workdir, step):
    checkpoints = Checkpoints(workdir)
    try:
        return checkpoints.restore_best(step, state_at(0))
    finally:
        checkpoints.close()


def scored_with(step):
    """What restore_best gives: the weights of a step, the rest as it was, no optimizer."""
    found = state_at(step)
    return (
        state_at(0)
        .to_score()
        .replace(params=found.params, tables=found.tables, model_state=found.model_state)
    )


def test_a_damaged_best_state_is_an_error(workdir):
    assert_equal(best_of(workdir, 2), scored_with(2))
    flip(large_file(workdir / "checkpoints/best/2"), 4321)
    with pytest.raises(UserError, match=r"best/2 is damaged: .* has changed .* from a copy"):
        best_of(workdir, 2)


def test_a_resumed_run_saves_a_best_state_anew_that_was_cut_short(workdir):
    best = workdir / "checkpoints/best/2"
    (best / HASHES).unlink()
    checkpoints = Checkpoints(workdir)
    checkpoints.save_best(2, state_at(2))
    written = large_file(best).stat().st_mtime_ns
    checkpoints.save_best(2, state_at(2))
    checkpoints.close()
    assert large_file(best).stat().st_mtime_ns == written  # a whole one stays
    assert_equal(best_of(workdir, 2), scored_with(2))


# Replicas.


class TinyReplica(Member):
    """A replica of which only the checkpoints are real."""

    def __init__(self, path, steps, stopped=False):
        self.folder = Workdir.__new__(Workdir)
        self.folder.path = path
        self.checkpoints = Checkpoints(path)
        for step in steps:
            self.checkpoints.save(step, state_at(step), progress_at(step) | {"stopped": stopped})

    def start(self, step=None):
        self.state, _ = self.checkpoints.restore(state_at(0), step) or (state_at(0), None)


@pytest.mark.parametrize(
    ("second", "expected"), [((1,), (1, 1)), ((2, 3), (2, 2)), ((), (0, 0)), ((1, 2), (2, 2))]
)
def test_replicas_go_on_from_a_checkpoint_that_all_have(tmp_path, second, expected):
    """If the others have none, it was cut while the first ones were written."""
    first = (1, 2) if second else (1,)
    members = [TinyReplica(tmp_path / f"{i}", steps) for i, steps in enumerate((first, second))]
    start_together(members)
    assert tuple(int(m.state.step) for m in members) == expected
    for member in members:
        member.checkpoints.close()


def test_replicas_without_a_checkpoint_in_common_lose_none(tmp_path):
    members = [TinyReplica(tmp_path / "replica_0", (1,)), TinyReplica(tmp_path / "replica_1", (2,))]
    message = r"no checkpoint in common.* replica_0 at \[1\], replica_1 at \[2\]"
    with pytest.raises(UserError, match=message):
        start_together(members)
    for member, step in zip(members, (1, 2)):
        assert member.checkpoints.steps() == [step]
        member.checkpoints.close()
