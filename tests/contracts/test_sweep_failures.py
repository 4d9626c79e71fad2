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
from dtn_jax.search import trials
from dtn_jax.workdir import Busy

PAIR = "--grid=model.dropout=0,0.1"


def test_a_trial_that_fails_is_told_and_counted(monkeypatch, prepared_dir, tmp_path, capsys):
    def train(config, workdir, *, test, after_validation):
        if config.model.dropout == 0.1:
            raise UserError("the loss [/job:0] is not finite")
        return {"validation": {"income@all": {"auc": 0.8}}}

    monkeypatch.setattr(trials, "train", train)
    found = run(tmp_path, prepared_dir, "--grid=model.dropout=0,0.1,0.2")["dtn"]
    assert found["budget"]["failed"] == 1
    assert found["budget"]["complete"] == 2
    shown = " ".join(capsys.readouterr().out.split())
    assert "failed: the loss [/job:0] is not finite" in shown

    def hopeless(*_, **__):
        raise UserError("the loss is not finite")

    monkeypatch.setattr(trials, "train", hopeless)
    with pytest.raises(UserError, match="no trial succeeded; the last one: the loss"):
        run(tmp_path / "hopeless", prepared_dir, "--trials=9")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("no space left on device")])
def test_an_interrupted_trial_waits_to_be_gone_on_with(
    error, monkeypatch, trained, prepared_dir, tmp_path
):
    once = trials.train

    def interrupted(*args, **kwargs):
        raise error

    monkeypatch.setattr(trials, "train", interrupted)
    with pytest.raises(type(error)):
        run(tmp_path, prepared_dir, PAIR)
    monkeypatch.setattr(trials, "train", once)
    run(tmp_path, prepared_dir, PAIR)
    assert trained[0][1] == "trial_0"
    assert len(trained) == 2


def test_settings_that_run_out_of_memory_cost_one_trial(monkeypatch, prepared_dir, tmp_path):
    def train(config, workdir, *, test, after_validation):
        if config.model.dropout == 0.1 or config.model.architecture == "ple":
            raise MemoryError("RESOURCE_EXHAUSTED: 80 GiB")
        return {"validation": {"income@all": {"auc": 0.8}}}

    monkeypatch.setattr(trials, "train", train)
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

    monkeypatch.setattr(trials, "train", train)
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

    monkeypatch.setattr(trials, "train", dies)
    with pytest.raises(UserError, match="dtn: the storage does not answer: connection refused"):
        with_database(tmp_path, prepared_dir, PAIR)


def test_an_architecture_that_cannot_be_does_not_lose_the_others(trained, prepared_dir, tmp_path):
    def train(config, workdir, **kwargs):
        if config.model.architecture == "esmm":
            raise UserError("esmm needs a funnel")
        return once(config, workdir, **kwargs)

    once, trials.train = trials.train, train  # the fixture puts the true one back
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
        return {"validation": {"click@all": {"auc": 0.7}}}

    monkeypatch.setattr(trials, "train", train)
    monkeypatch.setattr(trials, "WAIT", 0)
    assert trials.run(small(""), tmp_path) == 0.7
    assert tries == [tmp_path] * 3


WORKER = """
import pathlib, sys, time
from dtn_jax.cli import sweep
from dtn_jax.search import trial_storage, trials
from dtn_jax.shared_files import locked
trial_storage.HEARTBEAT, trial_storage.DEAD, trials.WAIT = 1, 4, 0.2
log, seconds = pathlib.Path(sys.argv[1]), float(sys.argv[2])

def write(*words):
    with log.open("a") as out:
        out.write(" ".join(map(str, words)) + "\\n")

def train(config, workdir, *, test, after_validation):
    workdir.mkdir(parents=True, exist_ok=True)
    lock = locked(workdir / "lock")  # as a run has it
    write("begin", config.model.dropout, workdir.name)
    time.sleep(seconds)
    write("end", config.model.dropout, workdir.name)
    return {"validation": {"income@all": {"auc": config.model.dropout}}}

trials.train = train
sweep.main(sys.argv[3:])
"""
POINTS = ("0.0", "0.1", "0.2", "0.3", "0.4", "0.5")


def start(log, seconds, workdir, prepared_dir, storage):
    """A worker, whose trials take so many seconds."""
    arguments = [CONFIG, f"--workdir={workdir}", f"--config.data.data_dir={prepared_dir}"]
    arguments += [f"--grid=model.dropout={','.join(POINTS)}", f"--storage={storage}"]
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, log, str(seconds), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )


def lines(log, least=0):
    """What workers have written, at least so many lines of it."""
    end = time.monotonic() + 240
    while not log.exists() or len(written := log.read_text().splitlines()) < least:
        assert time.monotonic() < end
        time.sleep(0.1)
    return [tuple(line.split()) for line in written]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite:///", "journal:"])
def test_two_workers_of_which_one_is_killed_run_each_trial_once(kind, prepared_dir, tmp_path):
    """The killed one's trial is run again, in its folder; all others once, by either."""
    log, storage = tmp_path / "log", f"{kind}{tmp_path / 'shared'}"
    victim = start(tmp_path / "victim", 600, tmp_path, prepared_dir, storage)
    other = start(log, 0.5, tmp_path, prepared_dir, storage)
    (lost,) = lines(tmp_path / "victim", least=1)
    lines(log, least=1)
    victim.kill()
    victim.wait()
    assert other.wait(240) == 0
    begun, ended = ([w[1:] for w in lines(log) if w[0] == kind] for kind in ("begin", "end"))
    assert sorted(point for point, _ in ended) == [*POINTS]
    assert begun == ended
    assert lost[1:] in begun
    found = json.loads((tmp_path / "sweep.json").read_text())["studies"]["dtn"]["budget"]
    assert (found["complete"], found["retried"]) == (6, 1)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["sqlite:///", "journal:"])
def test_two_workers_share_the_trials(kind, prepared_dir, tmp_path):
    """They make the storage at the same time, too."""
    log, storage = tmp_path / "log", f"{kind}{tmp_path / 'shared'}"
    started = [start(log, 0.3, tmp_path / str(i), prepared_dir, storage) for i in range(2)]
    assert [process.wait(240) for process in started] == [0, 0]
    assert sorted(point for what, point, _ in lines(log) if what == "end") == [*POINTS]
    assert len(lines(log)) == 2 * len(POINTS)
