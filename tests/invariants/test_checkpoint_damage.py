"""Where a checkpoint is damaged the newest whole one is used, and what is damaged is kept."""

import pytest
import saved_states
from saved_states import assert_equal, flip, large_file, progress_at, restored, state_at

from dtn_jax.errors import UserError
from dtn_jax.run.checkpoint import Checkpoints

saved = saved_states.saved
workdir = saved_states.workdir


def test_the_newest_whole_checkpoint_is_used_and_the_damaged_one_kept(workdir, capsys):
    path = large_file(workdir / "checkpoints/last/2")
    name, before = path.name, path.read_bytes()
    path.write_bytes(before[:-1])
    state, progress = restored(workdir)
    assert_equal(state, state_at(1))
    assert progress == progress_at(1)
    kept = workdir / "checkpoints/damaged/last-2"
    said = capsys.readouterr().out
    assert f"{workdir / 'checkpoints/last/2'} is damaged: rows/" in said
    assert (
        f"{name} has {len(before) - 1:,} bytes, expected {len(before):,}; moved to {kept}" in said
    )
    assert "Using the checkpoint of step 1" in said
    assert large_file(kept).read_bytes() == before[:-1]
    again = Checkpoints(workdir)  # the run goes on, and saves the step that it lost
    again.save(2, state_at(2), progress_at(2))
    again.close()
    assert_equal(restored(workdir)[0], state_at(2))
    assert capsys.readouterr().out == ""


def test_damaged_ones_of_one_step_are_all_kept(workdir):
    kept = []
    for _ in range(3):
        flip(workdir / "checkpoints/last/2/progress.json", 3)
        assert restored(workdir)[1] == progress_at(1)
        kept.append({p.name for p in (workdir / "checkpoints/damaged").iterdir()})
        checkpoints = Checkpoints(workdir)
        checkpoints.save(2, state_at(2), progress_at(2))
        checkpoints.close()
    assert kept[-1] == {"last-2", "last-2.2", "last-2.3"}
    assert kept[0] < kept[1] < kept[2]


def lose(path):
    path.unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: flip(path, 99), "default/manifest.ocdbt has changed since it was saved"),
        (lose, "default/manifest.ocdbt is missing"),
    ],
)
def test_a_warning_says_what_is_wrong_with_which_file(workdir, capsys, harm, said):
    harm(workdir / "checkpoints/last/2/default/manifest.ocdbt")
    assert_equal(restored(workdir)[0], state_at(1))
    assert said in capsys.readouterr().out


def test_files_that_no_number_is_read_from_may_be_added(workdir, capsys):
    (workdir / "checkpoints/last/2/default/.nfs0001").write_bytes(b"\0")
    (workdir / "checkpoints/last/2/default/d/commit_success.txt").write_text("done")
    assert_equal(restored(workdir)[0], state_at(2))
    assert capsys.readouterr().out == ""


def test_where_all_are_damaged_none_is_touched(workdir):
    for step in (1, 2):
        flip(large_file(workdir / f"checkpoints/last/{step}"), 12345)
    with pytest.raises(UserError, match="no checkpoint of this run is whole") as error:
        restored(workdir)
    for step in (1, 2):
        assert f"{workdir / f'checkpoints/last/{step}'} is damaged: rows/" in str(error.value)
        assert (workdir / f"checkpoints/last/{step}/default").exists()
    assert f"after moving {workdir / 'checkpoints'} away" in str(error.value)
    assert not (workdir / "checkpoints/damaged").exists()


@pytest.mark.parametrize(("step", "other"), [(1, 2), (2, 1)])
def test_a_checkpoint_asked_for_is_not_replaced_by_another(workdir, step, other):
    flip(large_file(workdir / f"checkpoints/last/{step}"), 7)
    with pytest.raises(UserError, match=f"no checkpoint of step {step} is whole"):
        restored(workdir, step=step)
    assert_equal(restored(workdir)[0], state_at(other))  # nothing was dropped for it
