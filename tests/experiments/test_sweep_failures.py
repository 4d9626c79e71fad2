"""Trials and storages that fail, and sweeps that are interrupted."""

import json

import optuna
import pytest
from small_runs import small
from sweeps import GRID, run

from dtn_jax.errors import UserError
from dtn_jax.workdir import Busy
from experiments.search import worker


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
        run(tmp_path, prepared_dir, GRID)
    monkeypatch.setattr(worker, "train", once)
    run(tmp_path, prepared_dir, GRID)
    assert trained[0][1] == "trial_0"
    assert len(trained) == 6


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
        run(tmp_path, prepared_dir, GRID)
    monkeypatch.setattr(optuna.Trial, "report", report)
    found = run(tmp_path, prepared_dir, GRID)["dtn"]
    assert found["budget"]["complete"] == 6
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
        run(tmp_path, prepared_dir, GRID)


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
