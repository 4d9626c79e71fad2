"""A checkpoint holds rows as they lay, and is read where they lie otherwise: equal numbers."""

import os
import pathlib
import subprocess
import sys

import chex
import jax
import numpy as np
import pytest
from drawn_states import ITEMS, drawn, others, rows
from small_runs import CutError, cut_after, logged, small

from dtn_jax.errors import UserError
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.train import train
from dtn_jax.tables import saved_rows

PROGRESS = {"best": {"mean": {"value": 0.5, "step": 1}}}
ODD = "adam, odd width"
CPU = {"parallel__table_platform": "cpu"}
TPU = {"parallel__table_platform": "tpu"}
KINDS = {
    "adam": {"model__embedding_dim": 16},
    ODD: {"model__embedding_dim": 24},
    "adagrad": {"model__embedding_dim": 16, "optim__tables": "adagrad"},
    "dense, odd width": {"model__embedding_dim": 24, "optim__tables": "dense"},
    "bfloat16": {"model__embedding_dim": 24, "optim__table_dtype": "bfloat16"},
    "wide": {"model__embedding_dim": 130, "optim__tables": "adagrad"},
}
WAYS = {
    "one device": {"parallel__devices": 1},
    "8 devices": {"parallel__devices": 8},
    "tables over 2 of 4": {"parallel__devices": 4, "parallel__table_devices": 2},
    "pmap": {"parallel__devices": 2, "parallel__strategy": "pmap"},
}


CASES = (
    *((kind, "one device", (CPU, TPU)) for kind in (ODD, "bfloat16")),
    (ODD, "8 devices", (TPU, CPU)),
    *(
        pytest.param(*given, marks=pytest.mark.nightly)
        for given in (
            *((kind, "one device", (CPU, TPU)) for kind in KINDS if kind not in (ODD, "bfloat16")),
            *((ODD, "8 devices", given) for given in ((CPU, TPU), (TPU, TPU))),
            *((ODD, way, (CPU, TPU)) for way in ("tables over 2 of 4", "pmap")),
            *((ODD, way, (TPU, CPU)) for way in ("one device", "tables over 2 of 4", "pmap")),
            *((kind, "8 devices", (CPU, TPU)) for kind in KINDS if kind != ODD),
            (ODD, "8 devices", (CPU, CPU)),
        )
    ),
)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """A table has many, and lines of one order are cut by the pieces of the other."""
    monkeypatch.setattr(saved_rows, "PIECE", 40_000)


def save(workdir, given):
    checkpoints = Checkpoints(workdir, given.plan)
    checkpoints.save_best(1, given.state)
    checkpoints.save(1, given.state, PROGRESS)
    checkpoints.close()


def restored(workdir, like):
    """The last state, of which the best one has the tables."""
    checkpoints = Checkpoints(workdir, like.plan)
    state, progress = checkpoints.restore(like.places)
    best = checkpoints.restore_best(1, state.replace(tables=like.places.tables))
    checkpoints.close()
    assert progress == PROGRESS
    assert best.slots == best.opt_state == {}
    chex.assert_trees_all_equal(best.tables, state.tables)
    found = jax.tree.map(lambda a: a.sharding, state)
    assert found == jax.tree.map(lambda a: a.sharding, like.places)
    return state


def assert_moved(state, plan, before):
    """Equal numbers; of rows those that both orders have, and other rows are zeros."""
    expected = rows(before.state, before.plan)
    for path, found in rows(state, plan).items():
        count = min(len(found), len(expected[path]))
        assert count >= (50 if "codebook" in path else ITEMS + 7)
        np.testing.assert_array_equal(found[:count], expected[path][:count])
        assert not found[count:].any()
    chex.assert_trees_all_equal(others(state), others(before.state))


@pytest.mark.parametrize(("kind", "way", "platforms"), CASES)
def test_rows_move_to_another_order_and_back(tmp_path, kind, way, platforms):
    here = drawn(**KINDS[kind], **platforms[0], **WAYS["one device"])
    there = drawn(**KINDS[kind], **platforms[1], **WAYS[way])
    save(tmp_path / "one", here)
    moved = there._replace(state=restored(tmp_path / "one", there))
    assert_moved(moved.state, there.plan, here)
    save(tmp_path / "two", moved)
    assert_moved(restored(tmp_path / "two", here), here.plan, moved)


def test_rows_that_are_no_padding_are_not_dropped(tmp_path):
    here, there = (drawn(**KINDS["adam"], **given) for given in (CPU, TPU))
    save(tmp_path, here)
    checkpoints = Checkpoints(tmp_path, there.plan)
    checkpoints.used = {"embedding": 12_289, "codebook": 50}
    with pytest.raises(UserError, match=r"is float32 .12288, 16., expected .* .12,289 rows"):
        checkpoints.restore(there.places)
    checkpoints.close()


# A run goes on where its tables lie otherwise, and meanwhile no table is there twice.


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, pytest.param(8, marks=pytest.mark.nightly)])
def test_a_run_goes_on_as_on_tpus_and_ends_as_on_cpus(
    uncut, prepared_dir, tmp_path, monkeypatch, devices, capsys
):
    """Cut at step 12, then at 24: three parts, of which the middle one lies in lines."""
    for saves, platform in ((1, "cpu"), (2, "tpu")):
        with monkeypatch.context() as patch, pytest.raises(CutError):
            cut_after(patch, saves)
            given = {"parallel__table_platform": platform, "parallel__devices": devices}
            train(small(prepared_dir, **given), tmp_path / "run")
    results = train(small(prepared_dir), tmp_path / "run")
    said = capsys.readouterr().out
    assert "Resuming at step 12 of 45" in said
    assert "Resuming at step 24 of 45" in said
    for one, other in zip(logged(tmp_path / "run"), logged(uncut[0]), strict=True):
        assert list(one) == list(other)
        for key, value in other.items():
            if not isinstance(value, str):
                assert one[key] == pytest.approx(value, rel=1e-3, abs=1e-4), (one["step"], key)
    for key, found in uncut[1]["test"].items():
        assert results["test"][key]["logloss"] == pytest.approx(found["logloss"], rel=1e-4)


@pytest.mark.nightly
@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what memory a process had")
@pytest.mark.parametrize(
    ("saved", "wanted", "width"),
    [("cpu", "tpu", 64), ("tpu", "cpu", 24), ("cpu", "tpu", 24), ("cpu", "cpu", 64)],
)
def test_a_table_is_never_held_twice(tmp_path, saved, wanted, width):
    script = pathlib.Path(__file__).with_name("one_restore.py")
    environment = {**os.environ, "PYTHONPATH": f"{script.parents[2]}:{script.parents[1]}"}
    rows = 100_000_000 // width  # 400 MB

    def run(what, platform):
        given = [str(tmp_path), what, platform, str(rows), str(width)]
        command = [sys.executable, str(script), *given]
        return subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    run("save", saved)
    held, most, left = map(int, run("restore", wanted).split())
    assert held > 395e6
    assert most < held + 256e6, (held, most, left)
