"""Checkpoints restore exactly what was saved, or are refused: checksums, and those without."""

import asyncio
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import saved_states
from damaged_bytes import DAMAGE, damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_states import assert_equal, large_file, progress_at, restored, state_at

from dtn_jax import checksums
from dtn_jax.checkpoint import Checkpoints, orbax, verified
from dtn_jax.errors import UserError

saved = saved_states.saved
workdir = saved_states.workdir


def test_what_was_saved_is_restored(saved, capsys):
    state, progress = restored(saved)
    assert_equal(state, state_at(2))
    assert progress == progress_at(2)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["lr[1e-3]", "a*b?", "%41[/red]"])
def test_a_path_is_no_pattern(tmp_path, capfd, name):
    """Orbax finds its own files by globs; in a folder `[...]` it found none, and lost the run."""
    workdir = tmp_path / name
    checkpoints = Checkpoints(workdir)
    checkpoints.save_best(2, state_at(2))
    checkpoints.save(2, state_at(2), progress_at(2))
    assert_equal(restored(workdir)[0], state_at(2))
    checkpoints.restore_best(2, state_at(0))
    checkpoints.close()
    assert "Skipping merge" not in capfd.readouterr().err


@pytest.mark.slow
def test_no_damage_is_accepted_with_another_result(workdir, tmp_path):
    """Hundreds of flips, truncations, deletions; some are restored as a run would do it."""
    newest = workdir / "checkpoints/last/2"
    files = sorted(p for p in newest.rglob("*") if p.is_file())
    refused = []

    @settings(max_examples=600, deadline=None)
    @given(st.sampled_from(files) | st.just(large_file(newest)), st.none() | DAMAGE)
    def harm(path, damage):
        data = path.read_bytes()
        changed = damage and damaged(data, damage)
        path.unlink() if changed is None else path.write_bytes(changed)
        bad = changed != data and checksums.are_there(newest) and checksums.damage(newest)
        refused.append(bool(bad))
        if changed != data and (not bad or len(refused) % 60 == 0):
            shutil.rmtree(tmp_path / "copy", ignore_errors=True)
            state, progress = restored(shutil.copytree(workdir, tmp_path / "copy"))
            assert progress == progress_at(1 if bad else 2), path
            assert_equal(state, state_at(1 if bad else 2))
        path.write_bytes(data)

    harm()
    assert sum(refused) > 300
    assert checksums.damage(newest) == ""


@pytest.mark.parametrize("size", [0, 1, 4097, 1 << 20, (1 << 20) + 1, (3 << 20) + 5])
def test_a_checksum_sees_each_byte_and_its_place(tmp_path, size):
    data = np.random.default_rng(size).integers(256, size=size, dtype=np.uint8)
    path = tmp_path / "file"

    def of(array):
        path.write_bytes(array.tobytes())
        return checksums.checksum(path)

    told = of(data)
    assert of(data) == told
    assert of(np.append(data, np.uint8(0))) != told
    for i in {0, size // 3, size - 1} if size else ():
        for bit in (1, 128):
            changed = data.copy()
            changed[i] ^= bit
            assert of(changed) != told
    for width in (1, 8, 512, 4096, 1 << 20):  # neighbours trade places
        if 2 * width <= size:
            first, second = data[:width], data[width : 2 * width]
            assert of(np.concatenate([second, first, data[2 * width :]])) != told


def test_one_without_checksums_loads_with_a_warning(workdir, capsys):
    """Saved by an earlier version, or by a process that was killed before it wrote them."""
    newest = workdir / "checkpoints/last/2"
    (newest / checksums.NAME).rename(newest / f"{checksums.NAME}.1f.tmp")
    assert_equal(restored(workdir)[0], state_at(2))
    assert f"warning: {newest} has no checksums" in capsys.readouterr().out
    assert not (workdir / "checkpoints/damaged").exists()


@pytest.mark.parametrize("left", [(), ("progress",), ("progress", "state")])
def test_one_without_checksums_that_cannot_be_read_is_set_aside(workdir, capsys, left):
    newest = workdir / "checkpoints/last/2"
    for path in list(newest.iterdir()):
        if path.is_file():
            path.unlink()
        elif path.name not in left:
            shutil.rmtree(path)
    if "state" in left:
        (newest / "state/_METADATA").write_bytes(b"")
    assert_equal(restored(workdir)[0], state_at(1))
    assert f"{newest} cannot be read" in capsys.readouterr().out
    assert (workdir / "checkpoints/damaged/last-2").exists()


def test_whatever_orbax_raises_one_without_checksums_is_set_aside(workdir, capsys, monkeypatch):
    """It raises plain exceptions, pages long, where an array's file is cut."""
    restore = ocp.CheckpointManager.restore

    def cut(self, step, **given):
        if step == 2:
            raise Exception("error while reading array index\n" + "x" * 10_000)
        return restore(self, step, **given)

    (workdir / "checkpoints/last/2" / checksums.NAME).unlink()
    monkeypatch.setattr(ocp.CheckpointManager, "restore", cut)
    assert_equal(restored(workdir)[0], state_at(1))
    said = capsys.readouterr().out
    assert "cannot be read: error while reading array index" in said
    assert len(said) < 2000


def test_one_that_cannot_be_read_ends_a_run_of_several_processes(workdir, monkeypatch):
    """Each would set it aside or not, and resume from another one."""

    def read():
        raise Exception("cut")

    newest = workdir / "checkpoints/last/2"
    (newest / checksums.NAME).unlink()
    with pytest.raises(verified.Damaged, match="cannot be read: cut"):
        verified.read(newest, read)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(verified, "told_damage", lambda path: "")  # which asks the other process
    with pytest.raises(UserError, match="cannot be read: cut"):
        verified.read(newest, read)


def test_what_orbax_tells_a_closed_event_loop_is_dropped():
    loop = asyncio.new_event_loop()
    loop.close()
    with orbax.quiet():
        loop.call_soon_threadsafe(print)


def test_a_whole_checkpoint_that_does_not_fit_is_no_damage(workdir):
    like = state_at(0).replace(tables={"codebook": jnp.zeros((4096, 128))})
    checkpoints = Checkpoints(workdir)
    with pytest.raises(UserError, match=r"^checkpoint .*last/2 cannot be read: .*"):
        checkpoints.restore(like)
    checkpoints.close()
    assert not (workdir / "checkpoints/damaged").exists()


def test_the_checksums_name_every_file(saved):
    folder = saved / "checkpoints/last/2"
    named = json.loads((folder / checksums.NAME).read_text())
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(named) == files - {checksums.NAME}
