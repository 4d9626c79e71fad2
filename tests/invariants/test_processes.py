"""Several processes train one run: with one process's numbers, and on after a death."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import chex
import pytest
from plugin_files import EXAMPLE
from small_runs import assert_same_run, last_state, logged, small

from dtn_jax.analysis.replay import read
from dtn_jax.cli import launch
from dtn_jax.files import HASHES
from dtn_jax.run.train import train

TESTS = pathlib.Path(__file__).parents[1]
FEW = {"data__batch_size": 32}  # fewer ids on a device than rows, so that rows travel


def run_together(
    workdir, data_dir, count, devices, cut_at=0, env=None, code=0, signals=(), **changes
):
    """Trains in `count` processes with `devices` each, up to the checkpoint of step `cut_at`; each
    must end with this code. With `signals` the last one gets them there: see one_process.py."""
    address = f"127.0.0.1:{launch.free_port()}"
    started = [
        subprocess.Popen(
            [
                *(sys.executable, TESTS / "one_process.py", workdir, data_dir),
                *(f"{address},{count},{index}", str(devices), str(cut_at), json.dumps(changes)),
                *signals,
            ],
            env=(env or os.environ) | {"PYTHONPATH": str(TESTS.parent)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(count)
    ]
    said = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [code] * count, "\n".join(said)
    return said


def assert_equal_logs(one, other, **within):
    """The same rows in every step, so the same losses and metrics up to rounding."""
    for a, b in zip(logged(one), logged(other), strict=True):
        assert list(a) == list(b)
        for name in a:
            if isinstance(a[name], float):
                assert b[name] == pytest.approx(a[name], **within), (a["step"], name)


def assert_equal_runs(config, one, other):
    """Their logs, and their parameters."""
    assert_equal_logs(one, other, rel=1e-4, abs=1e-5)
    (state, progress), (state2, progress2) = last_state(config, one), last_state(config, other)
    for name, entry in progress["best"].items():
        assert entry["step"] == progress2["best"][name]["step"]
    chex.assert_trees_all_close(state, state2, rtol=1e-2, atol=1e-4)


@pytest.fixture(scope="module")
def uncut(prepared_dir, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("uncut") / "run"
    return workdir, train(small(prepared_dir, **FEW), workdir)


@pytest.mark.slow
def test_a_run_goes_from_two_processes_to_one(uncut, prepared_dir, tmp_path):
    """Four devices, then two: at (epoch, step), no row lost or repeated."""
    workdir = tmp_path / "run"
    said = run_together(workdir, prepared_dir, 2, 2, cut_at=24, **FEW)
    assert "epoch 1/1" in said[0]
    assert "epoch" not in said[1]  # the first process alone speaks
    last = workdir / "checkpoints" / "last"
    assert all((folder / "checksums.json").exists() for folder in last.iterdir())
    config = small(prepared_dir, parallel__devices=2, **FEW)
    results = train(config, workdir)
    assert_equal_runs(config, uncut[0], workdir)
    for key, found in results["test"].items():
        assert found["auc"] == pytest.approx(uncut[1]["test"][key]["auc"], abs=1e-4)
        assert found["examples"] == uncut[1]["test"][key]["examples"]


@pytest.mark.nightly
def test_pmap_on_two_processes(uncut, prepared_dir, tmp_path):
    run_together(tmp_path / "run", prepared_dir, 2, 2, parallel__strategy="pmap", **FEW)
    assert_equal_runs(small(prepared_dir, **FEW), uncut[0], tmp_path / "run")
    assert (tmp_path / "run" / "predictions.parquet").exists()


@pytest.mark.slow
def test_a_step_that_is_not_finite_ends_all_processes(prepared_dir, tmp_path):
    """Each holds half of the batch; the first one writes the whole."""
    diverging = {"optim__learning_rate": 1e30, "model__normalisation": "none"}
    workdir = tmp_path / "run"
    said = run_together(workdir, prepared_dir, 2, 1, code=1, train__checkpoint_every=1, **diverging)
    assert all("UserError: not finite at step 2: the loss of income" in text for text in said)
    _, batch = read(workdir / "nonfinite/step-2.npz")
    assert len(batch.ids) == small(prepared_dir).data.batch_size
    assert batch.row_mask.all()


@pytest.mark.nightly
def test_four_processes_share_two_lanes(tmp_path):
    """Rows have groups, which each process reads a quarter of. Then two go on, a lane each."""
    plugin, lanes = tmp_path / "two_lanes.py", "Shop.layout = Layout(lanes=2, block_rows=64)"
    imported = "from dtn_jax.data.blocks import Layout"
    plugin.write_text(f"{EXAMPLE.read_text()}\n{imported}\n{lanes}\n")
    changes = {
        "plugins": str(plugin),
        "data__dataset": "shop",
        "model__dtype": "float64",
        "env": os.environ | {"JAX_ENABLE_X64": "1"},
    }
    alone, four = tmp_path / "alone", tmp_path / "four"
    run_together(alone, tmp_path, 1, 1, **changes)
    run_together(four, tmp_path, 4, 1, cut_at=24, **changes)
    said = run_together(four, tmp_path, 2, 1, **changes)
    assert "Resuming at step 24 of 45" in said[0]
    assert {"click@all/gauc"} <= {name for record in logged(alone) for name in record}
    assert_equal_logs(alone, four, rel=1e-10)


@pytest.mark.nightly
def test_when_a_process_dies_the_launcher_starts_all_again(prepared_dir, tmp_path):
    workdir, log = tmp_path / "run", tmp_path / "log"
    command = [
        *(sys.executable, "-m", "experiments.launch", "--processes=2", "--restarts=3", "--"),
        *("--config=configs/adult.py:dtn,quick", f"--workdir={workdir}"),
        *(f"--config.data.data_dir={prepared_dir}", "--config.train.max_steps=800"),
        *("--config.train.epochs=20", "--config.train.checkpoint_every=100"),
        *("--config.model.experts=mlp", "--config.model.mlp.hidden=(8,)"),
        *("--config.model.embedding_dim=4", "--config.model.expert_dim=8"),
        *("--config.data.batch_size=256", "--config.parallel.heartbeat_seconds=20"),
    ]
    with log.open("w") as out:
        launcher = subprocess.Popen(command, cwd=TESTS.parent, stdout=out, stderr=subprocess.STDOUT)
        wait_for(lambda: any(workdir.glob(f"checkpoints/last/*/{HASHES}")), 300)  # it is whole
        victim, *others = children(launcher.pid)
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: not any(map(alive, others)), 90)  # JAX's own heartbeats take 100 s
        assert launcher.wait(600) == 0, log.read_text()
    text = log.read_text()
    assert re.search(r"process \d of 2 ended with signal \d+; restarting all", text)
    assert re.search(r"Resuming at step \d+ of 800", text)
    assert (workdir / "results.json").exists()


@pytest.mark.slow
def test_processes_of_which_one_is_told_save_the_same_step(prepared_dir, tmp_path):
    """The signal is sent to the second one at step 24; JAX hears it within a second."""
    changes = {"train__max_steps": 75}

    def run(folder, **how):
        given = {"signals": ["SIGTERM"]} | how | changes
        return run_together(tmp_path / folder, prepared_dir, 2, 1, **given)

    run("uncut")
    said = run("run", cut_at=24, code=143)
    config = small(prepared_dir, parallel__devices=2, **changes)
    step = int(last_state(config, tmp_path / "run")[0].step)
    assert 24 < step < 75
    assert f"preempted: step {step} of 75 is saved in {tmp_path / 'run'};" in said[0]
    assert "is saved" not in said[1]
    assert f"Resuming at step {step} of 75" in run("run")[0]
    assert_same_run(config, tmp_path / "uncut", tmp_path / "run")


@pytest.mark.slow
def test_a_launcher_that_is_ended_ends_its_processes(prepared_dir, tmp_path):
    command = [
        *(sys.executable, "-m", "experiments.launch", "--processes=2", "--"),
        *("--config=configs/adult.py:dtn,quick", f"--workdir={tmp_path / 'run'}"),
        f"--config.data.data_dir={prepared_dir}",
    ]
    launcher = subprocess.Popen(command, cwd=TESTS.parent)
    wait_for(lambda: len(children(launcher.pid)) == 2, 120)
    started = children(launcher.pid)
    launcher.terminate()
    assert launcher.wait(60) == 143
    wait_for(lambda: not any(map(alive, started)), 60)


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def children(pid):
    """The processes that a process has started."""
    found = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def alive(pid):
    stat = pathlib.Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
