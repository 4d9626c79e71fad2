"""Runs and replicas that resume where the newest checkpoint is damaged."""

import pytest
from saved_states import assert_equal, flip, large_file, progress_at, state_at
from small_runs import CutError, assert_same_run, cut_after, small

from dtn_jax.errors import UserError
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.replicas import Replica, start_together
from dtn_jax.run.selection import Progress
from dtn_jax.run.train import train
from dtn_jax.run.workdir import Workdir

QUICK = {
    "model__architecture": "shared_bottom",
    "model__experts": "mlp",
    "train__max_steps": 12,
    "train__eval_every": 6,
    "train__checkpoint_every": 4,
}


@pytest.mark.slow
def test_a_run_whose_newest_checkpoint_is_damaged_equals_one_done_at_once(
    prepared_dir, tmp_path, monkeypatch, capsys
):
    config = small(prepared_dir, **QUICK)
    train(config, tmp_path / "uncut")
    with monkeypatch.context() as patch, pytest.raises(CutError):
        cut_after(patch, 3)
        train(config, tmp_path / "run")
    path = large_file(tmp_path / "run/checkpoints/last/8")
    flip(path, 8 * path.stat().st_size // 2)
    capsys.readouterr()
    train(config, tmp_path / "run")
    said = capsys.readouterr().out
    assert "Using the checkpoint of step 6" in said
    assert "Resuming at step 6 of 12" in said
    assert_same_run(config, tmp_path / "uncut", tmp_path / "run")


class TinyReplica(Replica):
    """A replica of which only the checkpoints are real."""

    def __init__(self, path, steps):
        self.folder = Workdir.__new__(Workdir)
        self.folder.path = path
        self.checkpoints = Checkpoints(path)
        for step in steps:
            self.checkpoints.save(step, state_at(step), progress_at(step))

    def start(self, step=None):
        self.state, _ = self.checkpoints.restore(state_at(0), step) or (state_at(0), None)
        self.progress = Progress({}, 0, False, [0.0], 0)


@pytest.mark.parametrize(
    ("damaged", "expected"), [((2, None), 1), ((None, 2), 1), ((2, 2), 1), ((None, 1), 2)]
)
def test_replicas_go_on_from_a_checkpoint_that_is_whole_in_all(tmp_path, damaged, expected):
    members = [TinyReplica(tmp_path / f"replica_{i}", (1, 2)) for i in range(2)]
    for member, step in zip(members, damaged):
        if step:
            flip(large_file(member.folder.path / f"checkpoints/last/{step}"), 77)
    start_together(members)
    for member in members:
        assert int(member.state.step) == expected
        assert_equal(member.state, state_at(expected))
        member.checkpoints.close()


@pytest.mark.parametrize("second", [((2, 3), 3, 2), ((1, 2), 1, 2)])
def test_replicas_without_a_whole_checkpoint_in_common_lose_none(tmp_path, second):
    """The first has steps 1 and 2, and 2 is damaged; so is one of the second's."""
    steps, damaged, left = second
    members = [
        TinyReplica(tmp_path / "replica_0", (1, 2)),
        TinyReplica(tmp_path / "replica_1", steps),
    ]
    for member, step in zip(members, (2, damaged)):
        flip(large_file(member.folder.path / f"checkpoints/last/{step}"), 77)
    message = rf"no checkpoint in common.* replica_0 at \[1\], replica_1 at \[{left}\]"
    with pytest.raises(UserError, match=message):
        start_together(members)
    for member, step in zip(members, (1, left)):
        assert member.checkpoints.steps() == [step]
        member.checkpoints.close()
