"""A damaged best state is read from elsewhere, saved again, or an error."""

import shutil

import pytest
import saved_states
from saved_states import assert_equal, flip, large_file, state_at

from dtn_jax.errors import UserError
from dtn_jax.files import HASHES
from dtn_jax.run.checkpoint import Checkpoints

saved = saved_states.saved
workdir = saved_states.workdir


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


def test_a_damaged_best_state_is_read_from_the_last_checkpoint_of_its_step(workdir, capsys):
    assert_equal(best_of(workdir, 2), scored_with(2))
    flip(large_file(workdir / "checkpoints/best/2"), 4321)
    assert_equal(best_of(workdir, 2), scored_with(2))
    said = capsys.readouterr().out
    assert f"{workdir / 'checkpoints/best/2'} is damaged: " in said
    assert f"read from {workdir / 'checkpoints/last/2'} instead" in said


@pytest.mark.parametrize("last", ["damaged", "gone"])
def test_a_damaged_best_state_that_is_nowhere_else_is_an_error(workdir, last):
    flip(large_file(workdir / "checkpoints/best/2"), 4321)
    if last == "damaged":
        flip(large_file(workdir / "checkpoints/last/2"), 4321)
    else:
        shutil.rmtree(workdir / "checkpoints/last/2")
    with pytest.raises(UserError, match=r"best/2 is damaged: .* has changed") as error:
        best_of(workdir, 2)
    assert f"Restore {workdir / 'checkpoints/best/2'} from a copy" in str(error.value)


@pytest.mark.parametrize("lost", ["a bit", "hashes"])
def test_a_resumed_run_saves_a_best_state_anew_that_is_not_known_to_be_whole(workdir, capsys, lost):
    best = workdir / "checkpoints/best/2"
    if lost == "a bit":
        flip(large_file(best), 4321)
    else:
        (best / HASHES).unlink()
    checkpoints = Checkpoints(workdir)
    checkpoints.save_best(2, state_at(2))
    assert "and saved again" in capsys.readouterr().out
    written = large_file(best).stat().st_mtime_ns
    checkpoints.save_best(2, state_at(2))
    checkpoints.close()
    assert large_file(best).stat().st_mtime_ns == written  # a whole one stays
    assert (workdir / "checkpoints/damaged/best-2").exists()
    assert_equal(best_of(workdir, 2), scored_with(2))
    assert capsys.readouterr().out == ""
