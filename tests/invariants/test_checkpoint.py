"""Checkpoints restore exactly what was saved, or are refused."""

import json
import shutil
from unittest.mock import Mock

import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest
import saved_states
from damaged_bytes import DAMAGE, damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_states import assert_equal, large_file, progress_at, restored, state_at

from dtn_jax.errors import UserError
from dtn_jax.files import HASHES, damage
from dtn_jax.run.checkpoint import Checkpoints

saved = saved_states.saved
workdir = saved_states.workdir


def test_what_was_saved_is_restored(saved, capsys):
    state, progress = restored(saved)
    assert_equal(state, state_at(2))
    assert progress == progress_at(2)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_no_damage_is_accepted_with_another_result(workdir, tmp_path):
    """Hundreds of flips, truncations, deletions; some are restored as a run would do it."""
    newest = workdir / "checkpoints/last/2"
    files = sorted(p for p in newest.rglob("*") if p.is_file())
    refused = []

    @settings(max_examples=600, deadline=None)
    @given(st.sampled_from(files) | st.just(large_file(newest)), st.none() | DAMAGE)
    def harm(path, how):
        data = path.read_bytes()
        changed = how and damaged(data, how)
        path.unlink() if changed is None else path.write_bytes(changed)
        bad = changed != data and damage(newest)
        refused.append(bool(bad))
        if changed != data and (not bad or len(refused) % 60 == 0):
            shutil.rmtree(tmp_path / "copy", ignore_errors=True)
            state, progress = restored(shutil.copytree(workdir, tmp_path / "copy"))
            assert progress == progress_at(1 if bad else 2), path
            assert_equal(state, state_at(1 if bad else 2))
        path.write_bytes(data)

    harm()
    assert sum(refused) > 300
    assert damage(newest) == ""


def test_one_that_was_not_saved_whole_is_set_aside(workdir, capsys):
    """The process was killed before it wrote the hashes."""
    for step, used in ((2, "the checkpoint of step 1"), (1, "a new state")):
        folder = workdir / f"checkpoints/last/{step}"
        (folder / HASHES).rename(folder / f"{HASHES}.1f.tmp")
        state = restored(workdir)
        said = capsys.readouterr().out
        assert f"warning: {folder} has no {HASHES}: its saving was cut short; moved to" in said
        assert f"Using {used}" in said
        assert (workdir / f"checkpoints/damaged/last-{step}").exists()
    assert state is None


def test_what_orbax_raises_of_a_whole_one_is_told(workdir, monkeypatch):
    """It raises plain exceptions, pages long."""
    cut = Exception("error while reading array index\n" + "x" * 10_000)
    monkeypatch.setattr(ocp.PyTreeCheckpointer, "restore", Mock(side_effect=cut))
    with pytest.raises(UserError, match="cannot be read: error while reading array index") as told:
        restored(workdir)
    assert len(str(told.value)) < 2000


def test_a_whole_checkpoint_that_does_not_fit_is_no_damage(workdir):
    like = state_at(0).replace(tables={"codebook": jnp.zeros((4096, 128))})
    checkpoints = Checkpoints(workdir)
    with pytest.raises(UserError, match=r"^checkpoint .*last/2 cannot be read: .*"):
        checkpoints.restore(like)
    checkpoints.close()
    assert not (workdir / "checkpoints/damaged").exists()


def test_the_hashes_name_every_file(saved):
    folder = saved / "checkpoints/last/2"
    named = json.loads((folder / HASHES).read_text())
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(named) == files - {HASHES}
