"""Checkpoints restore exactly what was saved, or are refused."""

import json
import random
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from small_runs import CutError, assert_same_run, cut_after, small

from dtn_jax import checksums
from dtn_jax.checkpoint import Checkpoints
from dtn_jax.errors import UserError
from dtn_jax.replicas import Member, start_together
from dtn_jax.selection import Progress
from dtn_jax.state import State
from dtn_jax.train import train
from dtn_jax.workdir import Workdir


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


def test_what_was_saved_is_restored(saved, capsys):
    state, progress = restored(saved)
    assert_equal(state, state_at(2))
    assert progress == progress_at(2)
    assert capsys.readouterr().out == ""


def damaged_at_random(rng, data):
    """The bytes of a file after bits flipped, an end cut off, or a part overwritten."""
    kind = rng.choice(("flip", "flip", "cut", "overwrite"))
    if kind == "cut" or not data:
        return data[: rng.randrange(max(len(data), 1))]
    changed = bytearray(data)
    if kind == "flip":
        for _ in range(rng.choice((1, 1, 2, 3, 4, 100))):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    else:
        start = rng.randrange(len(data))
        other = rng.choice((b"\0", b"\xff", data[: 1 << 12])) * 4096
        changed[start : start + rng.choice((1, 512, 4096))] = other[: rng.choice((1, 512, 4096))]
    return bytes(changed)


def test_no_damage_is_accepted_with_another_result(workdir, tmp_path):
    """Hundreds of flips, truncations, deletions; some are restored as a run would do it."""
    newest = workdir / "checkpoints/last/2"
    files = sorted(p for p in newest.rglob("*") if p.is_file())
    rng = random.Random(0)
    refused = 0
    for i in range(600):
        path = large_file(newest) if i % 4 == 0 else rng.choice(files)
        data = path.read_bytes()
        changed = None if rng.random() < 0.1 else damaged_at_random(rng, data)
        path.unlink() if changed is None else path.write_bytes(changed)
        bad = changed != data and checksums.are_there(newest) and checksums.damage(newest)
        refused += bool(bad)
        if changed != data and (not bad or i % 60 == 0):
            shutil.rmtree(tmp_path / "copy", ignore_errors=True)
            state, progress = restored(shutil.copytree(workdir, tmp_path / "copy"))
            assert progress == progress_at(1 if bad else 2), path
            assert_equal(state, state_at(1 if bad else 2))
        path.write_bytes(data)
    assert refused > 550
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


def test_the_newest_whole_checkpoint_is_used_and_the_damaged_one_kept(workdir, capsys):
    path = large_file(workdir / "checkpoints/last/2")
    name, before = path.name, path.read_bytes()
    path.write_bytes(before[:-1])
    state, progress = restored(workdir)
    assert_equal(state, state_at(1))
    assert progress == progress_at(1)
    kept = workdir / "checkpoints/damaged/last-2"
    said = capsys.readouterr().out
    assert f"{workdir / 'checkpoints/last/2'} is damaged: state/" in said
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
        flip(workdir / "checkpoints/last/2/progress/metadata", 3)
        assert restored(workdir)[1] == progress_at(1)
        kept.append({p.name for p in (workdir / "checkpoints/damaged").iterdir()})
        checkpoints = Checkpoints(workdir)
        checkpoints.save(2, state_at(2), progress_at(2))
        checkpoints.close()
    assert kept[-1] == {"last-2", "last-2.2", "last-2.3"}
    assert kept[0] < kept[1] < kept[2]


def lose(path):
    path.unlink()


def add(path):
    path.with_name("manifest.more").write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: flip(path, 99), "state/manifest.ocdbt has changed since it was saved"),
        (lose, "state/manifest.ocdbt is lost"),
        (add, "state/manifest.more was not there when it was saved"),
    ],
)
def test_a_warning_says_what_is_wrong_with_which_file(workdir, capsys, harm, said):
    harm(workdir / "checkpoints/last/2/state/manifest.ocdbt")
    assert_equal(restored(workdir)[0], state_at(1))
    assert said in capsys.readouterr().out


def test_files_that_no_number_is_read_from_may_be_added(workdir, capsys):
    (workdir / "checkpoints/last/2/state/.nfs0001").write_bytes(b"\0")
    (workdir / "checkpoints/last/2/state/d/commit_success.txt").write_text("done")
    assert_equal(restored(workdir)[0], state_at(2))
    assert capsys.readouterr().out == ""


def test_where_all_are_damaged_none_is_touched(workdir):
    for step in (1, 2):
        flip(large_file(workdir / f"checkpoints/last/{step}"), 12345)
    with pytest.raises(UserError, match="no checkpoint of this run is whole") as error:
        restored(workdir)
    for step in (1, 2):
        assert f"{workdir / f'checkpoints/last/{step}'} is damaged: state/" in str(error.value)
        assert (workdir / f"checkpoints/last/{step}/state").exists()
    assert f"after moving {workdir / 'checkpoints'} away" in str(error.value)
    assert not (workdir / "checkpoints/damaged").exists()


@pytest.mark.parametrize(("step", "other"), [(1, 2), (2, 1)])
def test_a_checkpoint_asked_for_is_not_replaced_by_another(workdir, step, other):
    flip(large_file(workdir / f"checkpoints/last/{step}"), 7)
    with pytest.raises(UserError, match=f"no checkpoint of step {step} is whole"):
        restored(workdir, step=step)
    assert_equal(restored(workdir)[0], state_at(other))  # nothing was dropped for it


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


def test_a_whole_checkpoint_that_does_not_fit_is_no_damage(workdir):
    like = state_at(0).replace(tables={"codebook": jnp.zeros((4096, 128))})
    checkpoints = Checkpoints(workdir)
    with pytest.raises(UserError, match=r"^checkpoint .*last/2 cannot be read: .*"):
        checkpoints.restore(like)
    checkpoints.close()
    assert not (workdir / "checkpoints/damaged").exists()


def best_of(workdir, step):
    checkpoints = Checkpoints(workdir)
    try:
        return checkpoints.restore_best(step, state_at(0))
    finally:
        checkpoints.close()


def scored_with(step):
    """What restore_best gives: the weights of a step, the rest as it was."""
    found = state_at(step)
    return state_at(0).replace(
        params=found.params, tables=found.tables, model_state=found.model_state
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


@pytest.mark.parametrize("lost", ["a bit", "checksums"])
def test_a_resumed_run_saves_a_best_state_anew_that_is_not_known_to_be_whole(workdir, capsys, lost):
    best = workdir / "checkpoints/best/2"
    if lost == "a bit":
        flip(large_file(best), 4321)
    else:
        (best / checksums.NAME).unlink()
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


QUICK = {
    "model__architecture": "shared_bottom",
    "model__experts": "mlp",
    "train__max_steps": 12,
    "train__eval_every": 6,
    "train__checkpoint_every": 4,
}


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


class TinyReplica(Member):
    """A replica of which only the checkpoints are real."""

    def __init__(self, path, steps):
        self.folder = Workdir.__new__(Workdir)
        self.folder.path = path
        self.checkpoints = Checkpoints(path)
        for step in steps:
            self.checkpoints.save(step, state_at(step), progress_at(step))

    def start(self, step):
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


def test_the_checksums_name_every_file(saved):
    folder = saved / "checkpoints/last/2"
    named = json.loads((folder / checksums.NAME).read_text())
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(named) == files - {checksums.NAME}
