"""Trials, storages and workers of a sweep that fail, are interrupted or die."""

import json
import os
import subprocess
import sys
import time

import optuna
import pytest
from command_calls import ROOT
from small_runs import small
from sweeps import CONFIG, run, with_database

from dtn_jax.errors import UserError
from dtn_jax.search import worker
from dtn_jax.workdir import Busy

PAIR = "--grid=model.dropout=0,0.1"


def test_a_trial_that_fails_is_told_and_counted(monkeypatch, prepared_dir, tmp_path, capsys):
    def train(config, workdir, *, test, after_validation):
        if config.model.dropout == 0.1:
            raise UserError("the loss [/job:0] is not finite")
        return {"validation": {"income@all": {"auc": 0.8}}}

    monkeypatch.setattr(worker, "train", train)
    found = run(tmp_path, prepared_dir, "--grid=model.dropout=0,0.1,0.2")["dtn"]
    assert found["budget"]["failed"] == 1
    assert found["budget"]["complete"] == 2
    shown = " ".join(capsys.readouterr().out.split())
    assert "failed: the loss [/job:0] is not finite" in shown

    def hopeless(*_, **__):
        raise UserError("the loss is not finite")

    monkeypatch.setattr(worker, "train", hopeless)
    with pytest.raises(UserError, match="no trial succeeded; the last one: the loss"):
        run(tmp_path / "hopeless", prepared_dir, "--trials=9")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("no space left on device")])
def test_an_interrupted_trial_waits_to_be_gone_on_with(
    error, monkeypatch, trained, prepared_dir, tmp_path
):
    once = worker.train

    def interrupted(*args, **kwargs):
        raise error

    monkeypatch.setattr(worker, "train", interrupted)
    with pytest.raises(type(error)):
        run(tmp_path, prepared_dir, PAIR)
    monkeypatch.setattr(worker, "train", once)
    run(tmp_path, prepared_dir, PAIR)
    assert trained[0][1] == "trial_0"
    assert len(trained) == 2


def test_settings_that_run_out_of_memory_cost_one_trial(monkeypatch, prepared_dir, tmp_path):
    def train(config, workdir, *, test, after_validation):
        if config.model.dropout == 0.1 or config.model.architecture == "ple":
            raise MemoryError("RESOURCE_EXHAUSTED: 80 GiB")
        return {"validation": {"income@all": {"auc": 0.8}}}

    monkeypatch.setattr(worker, "train", train)
    with pytest.raises(UserError, match="ple: no trial succeeded; the last one: MemoryError: RES"):
        run(tmp_path, prepared_dir, "--grid=model.dropout=0,0.1", "--architectures=ple,dtn")
    found = json.loads((tmp_path / "sweep.json").read_text())["studies"]
    assert found["dtn"]["budget"]["complete"] == found["dtn"]["budget"]["failed"] == 1
    (failed,) = [t for t in found["dtn"]["trials"] if t["state"] == "failed"]
    assert failed["error"] == "MemoryError: RESOURCE_EXHAUSTED: 80 GiB"
    assert "--config.model.dropout=0" in found["dtn"]["command"]


def test_what_was_found_before_an_interruption_is_written(monkeypatch, prepared_dir, tmp_path):
    done = []

    def train(config, workdir, *, test, after_validation):
        if done:
            raise KeyboardInterrupt
        done.append(config.model.dropout)
        return {"validation": {"income@all": {"auc": 0.8}}}

    monkeypatch.setattr(worker, "train", train)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, prepared_dir, "--grid=model.dropout=0,0.1,0.2")
    found = json.loads((tmp_path / "sweep.json").read_text())["studies"]["dtn"]
    assert (found["value"], found["settings"]) == (0.8, {"model.dropout": f"{done[0]:g}"})


def test_a_fault_of_the_storage_is_not_one_of_the_settings(
    trained, prepared_dir, tmp_path, monkeypatch
):
    report = optuna.Trial.report

    def fails(trial, value, step):
        raise optuna.exceptions.StorageInternalError("the server restarts")

    monkeypatch.setattr(optuna.Trial, "report", fails)
    with pytest.raises(UserError, match="dtn: the storage does not answer: the server restarts"):
        run(tmp_path, prepared_dir, PAIR)
    monkeypatch.setattr(optuna.Trial, "report", report)
    found = run(tmp_path, prepared_dir, PAIR)["dtn"]
    assert found["budget"]["complete"] == 2
    assert "failed" not in found["budget"]
    assert [name for _, name, _ in trained].count("trial_0") == 2  # it was resumed


def test_a_storage_that_stays_away_is_a_message(trained, prepared_dir, tmp_path, monkeypatch):
    def away(*_, **__):
        raise optuna.exceptions.StorageInternalError("connection refused")

    def dies(*_, **__):
        monkeypatch.setattr(optuna.storages.RDBStorage, "get_all_trials", away)
        monkeypatch.setattr(optuna.storages._CachedStorage, "get_all_trials", away)
        away()

    monkeypatch.setattr(worker, "train", dies)
    with pytest.raises(UserError, match=r"dtn: the storage does not answer: conn.*; no report: "):
        with_database(tmp_path, prepared_dir, PAIR)


def test_an_architecture_that_cannot_be_does_not_lose_the_others(trained, prepared_dir, tmp_path):
    def train(config, workdir, **kwargs):
        if config.model.architecture == "esmm":
            raise UserError("esmm needs a funnel")
        return once(config, workdir, **kwargs)

    once, worker.train = worker.train, train  # the fixture puts the true one back
    with pytest.raises(UserError, match=r"esmm: no trial succeeded.*funnel"):
        run(tmp_path, prepared_dir, "--architectures=dtn,esmm,ple", "--trials=3")
    found = json.loads((tmp_path / "sweep.json").read_text())["studies"]
    assert found["dtn"]["budget"]["complete"] == found["ple"]["budget"]["complete"] == 3
    assert found["esmm"]["command"] == ""


def test_a_trial_waits_for_the_worker_that_is_still_in_its_folder(monkeypatch, tmp_path):
    tries = []

    def train(config, folder, *, test, after_validation):
        tries.append(folder)
        if len(tries) < 3:
            raise Busy("another process works there")
        return {"validation": {}}

    monkeypatch.setattr(worker, "train", train)
    monkeypatch.setattr(worker, "WAIT", 0)
    assert worker.train_when_free(small(""), tmp_path, None) == {"validation": {}}
    assert tries == [tmp_path] * 3


WORKER = """
import pathlib, sys, time
from dtn_jax.shared_files import locked
from dtn_jax.cli import sweep
from dtn_jax.search import studies, trial_storage, worker
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


def start(log, seconds, workdir, prepared_dir, storage, *space, dead=3):
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


KINDS = [
    pytest.param("sqlite:///", marks=pytest.mark.slow),
    pytest.param("journal:", marks=pytest.mark.nightly),
]


@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_share_the_trials(kind, prepared_dir, tmp_path):
    log, storage = tmp_path / "log", f"{kind}{tmp_path / 'shared'}"
    started = [
        start(log, 0.3, tmp_path / str(i), prepared_dir, storage, dead=600) for i in range(2)
    ]
    assert [process.wait(300) for process in started] == [0, 0]
    lines = log.read_text().splitlines()
    assert sorted(line for line in lines if line.startswith("end")) == [
        f"end {dropout}" for dropout in (0.0, 0.1, 0.2, 0.3)
    ]
    assert len(lines) == 8


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_workers_trial_goes_on(kind, prepared_dir, tmp_path):
    log, storage = tmp_path / "log", f"{kind}{tmp_path / 'shared'}"
    victim = start(log, 600, tmp_path, prepared_dir, storage)
    kill_in_its_first_trial(victim, log)
    assert start(log, 0, tmp_path, prepared_dir, storage).wait(300) == 0
    lines = log.read_text().splitlines()
    assert lines.count(lines[0]) == 2  # the same settings in the same folder
    assert sorted(line for line in lines if line.startswith("end")) == [
        f"end {dropout}" for dropout in (0.0, 0.1, 0.2, 0.3)
    ]


@pytest.mark.nightly
def test_the_last_of_a_small_space_is_waited_for(prepared_dir, tmp_path):
    """Its start died, which the database tells after a while."""
    log, storage = tmp_path / "log", f"sqlite:///{tmp_path / 'shared'}"
    file = tmp_path / "mine.py"
    file.write_text(
        "def sweep(trial):\n"
        "    d = trial.suggest_categorical('d', [0.0, 0.1, 0.2])\n"
        "    return {'model.dropout': d}\n"
    )
    space = (f"--sweep={file}", "--trials=9")
    victim = start(log, 600, tmp_path, prepared_dir, storage, *space)
    kill_in_its_first_trial(victim, log)
    assert start(log, 0, tmp_path, prepared_dir, storage, *space).wait(300) == 0
    ends = sorted(line for line in log.read_text().splitlines() if line.startswith("end"))
    assert ends == ["end 0.0", "end 0.1", "end 0.2"]
    budget = json.loads((tmp_path / "sweep.json").read_text())["studies"]["dtn"]["budget"]
    assert (budget["complete"], budget["retried"]) == (3, 1)
    assert "running" not in budget
