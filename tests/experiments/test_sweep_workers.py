"""Workers that share the trials of a sweep, each a process; deaths of some."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest
from sweeps import CONFIG

from experiments.search import trial_storage

pytestmark = pytest.mark.slow
ROOT = pathlib.Path(__file__).parents[2]


WORKER = """
import pathlib, sys, time
from dtn_jax.shared_files import locked
from experiments import sweep
from experiments.search import studies, trial_storage, worker
trial_storage.HEARTBEAT, trial_storage.DEAD = 1, int(sys.argv[3])
worker.WAIT, studies.BEGINNING = 0.2, 2
log, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2])

def train(config, workdir, *, test, after_validation):
    workdir.mkdir(parents=True, exist_ok=True)
    lock = locked(workdir / "lock")  # as a run has it
    with log.open("a") as out:
        out.write(f"begin {config.model.dropout} {pathlib.Path(workdir).name}\\n")
    time.sleep(seconds)
    with log.open("a") as out:
        out.write(f"end {config.model.dropout}\\n")
    return {"validation": {"income@all": {"auc": config.model.dropout}}}

worker.train = train
sweep.main(sys.argv[4:])
"""


def worker(log, seconds, workdir, prepared_dir, storage, *space, dead=3):
    """A process that others take for dead when it has been silent for so many seconds."""
    arguments = [
        *(CONFIG, f"--workdir={workdir}", f"--config.data.data_dir={prepared_dir}"),
        *(space or ("--grid=model.dropout=0,0.1,0.2,0.3",)),
        f"--storage={storage}",
    ]
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, log, str(seconds), str(dead), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )


def kill_in_its_first_trial(victim, log):
    end = time.monotonic() + 240
    while not (log.exists() and log.read_text().endswith("\n")):
        assert time.monotonic() < end
        time.sleep(0.1)
    victim.kill()
    victim.wait()


@pytest.mark.parametrize("kind", ["sqlite:///", "journal:"])
def test_two_workers_share_the_trials(kind, prepared_dir, tmp_path):
    log, storage = tmp_path / "log", f"{kind}{tmp_path / 'shared'}"
    started = [
        worker(log, 0.3, tmp_path / str(i), prepared_dir, storage, dead=600) for i in range(2)
    ]
    assert [process.wait(300) for process in started] == [0, 0]
    lines = log.read_text().splitlines()
    assert sorted(line for line in lines if line.startswith("end")) == [
        f"end {dropout}" for dropout in (0.0, 0.1, 0.2, 0.3)
    ]
    assert len(lines) == 8


@pytest.mark.parametrize("kind", ["sqlite:///", "journal:"])
def test_a_killed_workers_trial_goes_on(kind, prepared_dir, tmp_path):
    log, storage = tmp_path / "log", f"{kind}{tmp_path / 'shared'}"
    victim = worker(log, 600, tmp_path, prepared_dir, storage)
    kill_in_its_first_trial(victim, log)
    assert worker(log, 0, tmp_path, prepared_dir, storage).wait(300) == 0
    lines = log.read_text().splitlines()
    assert lines.count(lines[0]) == 2  # the same settings in the same folder
    assert sorted(line for line in lines if line.startswith("end")) == [
        f"end {dropout}" for dropout in (0.0, 0.1, 0.2, 0.3)
    ]


def test_the_last_of_a_small_space_is_waited_for(prepared_dir, tmp_path):
    """Its worker died, which the database tells after a while."""
    log, storage = tmp_path / "log", f"sqlite:///{tmp_path / 'shared'}"
    file = tmp_path / "mine.py"
    file.write_text(
        "def sweep(trial):\n"
        "    d = trial.suggest_categorical('d', [0.0, 0.1, 0.2])\n"
        "    return {'model.dropout': d}\n"
    )
    space = (f"--sweep={file}", "--trials=9")
    victim = worker(log, 600, tmp_path, prepared_dir, storage, *space)
    kill_in_its_first_trial(victim, log)
    assert worker(log, 0, tmp_path, prepared_dir, storage, *space).wait(300) == 0
    ends = sorted(line for line in log.read_text().splitlines() if line.startswith("end"))
    assert ends == ["end 0.0", "end 0.1", "end 0.2"]
    budget = json.loads((tmp_path / "sweep.json").read_text())["studies"]["dtn"]["budget"]
    assert (budget["complete"], budget["retried"]) == (3, 1)
    assert "running" not in budget


def test_workers_wait_for_each_others_lock(tmp_path):
    opened = trial_storage.open_storage(f"sqlite:///{tmp_path / 'sweep.db'}")
    with opened.engine.connect() as connection:
        milliseconds = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    assert milliseconds == 1000 * trial_storage.LOCKED
