"""Trackers beside a run's folder: what they get, and that none can end a run."""

import importlib.util
import pathlib
import subprocess
import sys
import time

import pytest
from command_calls import ROOT, tensorboard_events

from dtn_jax.errors import UserError
from dtn_jax.report import trackers
from dtn_jax.report.trackers import Background

CONFIG = {"seed": 3, "model.architecture": "dtn"}
RECORD = {"kind": "validation", "step": 4, "epoch": 0.5, "click@all/auc": 0.75, "mean": None}
RESULTS = {
    "kind": "final",
    "step": 8,
    "steps": 8,
    "test": {"click@all": {"auc": 0.8, "ece": None}},
    "dataset": "shop",
}


def run(name, folder, step=0, finish=True):
    """A run that logs one record."""
    folder.mkdir(exist_ok=True)
    (tracker,) = trackers.started(name, folder, CONFIG, step)
    tracker.log(RECORD | {"step": step + 4})
    if finish:
        tracker.log(RESULTS)
    tracker.close()
    return tracker


def test_names_are_checked_and_a_missing_package_names_the_extra(monkeypatch):
    assert trackers.read_trackers("tensorboard, tensorboard,") == ["tensorboard"]
    assert trackers.read_trackers("") == []
    with pytest.raises(UserError, match=r"unknown tracker in train.trackers 'mlfow'"):
        trackers.read_trackers("mlfow")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '.\[wandb\]'"):
        trackers.read_trackers("wandb")


def test_tensorboard_gets_numbers_and_results(tmp_path):
    run("tensorboard", tmp_path / "run")
    kept = tensorboard_events(tmp_path / "run")
    assert kept[0].file_version == "brain.Event:2"
    values = {value.tag: value.simple_value for one in kept for value in one.summary.value}
    assert "validation/click_all/auc" in values
    assert values["final/test/click_all/auc"] == pytest.approx(0.8)


FULL_DISK = """
import sys, pathlib
from dtn_jax.report import trackers
pathlib.Path.open = lambda path, *mode, **how: open("/dev/full", *mode, **how)
(tracker,) = trackers.started("tensorboard", pathlib.Path(sys.argv[1]), {}, 0)
tracker.log({"kind": "train", "step": 1, "epoch": 0.5, "loss": 0.5})
tracker.close()
"""


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_of_tensorboard_is_one_warning(tmp_path):
    """Also at the program's end, where tensorboardX's own writer would show a traceback."""
    call = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    said = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True).stderr
    assert said.startswith("warning: tracker tensorboard failed")
    assert "No space left" in said
    assert len(said.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_keeps_one_run_in_the_workdir(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "run"
    assert not run("mlflow", folder, finish=False).failed
    client = MlflowClient(f"sqlite:///{folder / 'mlflow/mlflow.db'}")
    identifier = (folder / "mlflow/run_id").read_text()
    assert client.get_run(identifier).info.status == "KILLED"
    assert not run("mlflow", folder, step=4).failed  # goes on
    assert (folder / "mlflow/run_id").read_text() == identifier
    found = client.get_run(identifier)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"seed": "3", "model.architecture": "dtn"}
    assert found.data.metrics["final/test/click_all/auc"] == 0.8
    history = client.get_metric_history(identifier, "validation/click_all/auc")
    assert [(m.step, m.value) for m in history] == [(4, 0.75), (8, 0.75)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_writes_offline_under_one_id(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB__SERVICE_WAIT", "300")
    for part in ("INIT", "FINISH"):
        monkeypatch.setenv(f"WANDB_{part}_TIMEOUT", "900")
    folder = tmp_path / "run"
    assert not run("wandb", folder, finish=False).failed
    time.sleep(1.1)  # its folders are named by the second
    assert not run("wandb", folder, step=4).failed
    identifier = (folder / "wandb/run_id").read_text()
    offline = sorted((folder / "wandb").glob("offline-run-*"))
    assert len(offline) == 2
    files = [events for part in offline for events in part.glob("*.wandb")]
    assert [events.stem for events in files] == [f"run-{identifier}"] * 2
    held, until = b"", time.monotonic() + 60
    while b"final/test/" not in held and time.monotonic() < until:  # W&B writes the end late
        held = b"".join(events.read_bytes() for events in files)
        time.sleep(0.1)
    assert b"validation/click@all/auc" in held
    assert b"model.architecture" in held
    assert b"final/test/click@all/auc" in held


class Full:
    """Stands for a tracker whose disk is full."""

    def __init__(self, folder, config, step):
        if config.get("fails"):
            raise ConnectionError("no server")
        self.calls = []

    def log(self, numbers, step):
        self.calls.append(numbers)
        raise OSError("the disk is full")


@pytest.mark.parametrize(
    ("config", "told"), [({"fails": 1}, "ConnectionError: no server"), ({}, "the disk is full")]
)
def test_one_that_fails_warns_once(tmp_path, capsys, config, told):
    tracker = Background("mlflow", Full, tmp_path, config, 0)
    for _ in range(3):
        tracker.log(RECORD)
    tracker.log(RESULTS)
    tracker.close()
    assert not tracker.tracker or len(tracker.tracker.calls) == 1
    said = capsys.readouterr().err
    assert said.count("warning: tracker mlflow failed") == 1
    assert told in said
