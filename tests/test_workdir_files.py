"""What a run writes outlives every interruption: results, records, TensorBoard events."""

import os
import pathlib

import claimed_folders
import pytest
from claimed_folders import claim

from dtn_jax.report.trackers import tensorboard
from dtn_jax.workdir import Workdir

claimed = claimed_folders.claimed


@pytest.mark.parametrize(("owner", "step"), [(os, "fsync"), (pathlib.Path, "replace")])
def test_a_file_is_whole_or_as_it_was(claimed, monkeypatch, owner, step):
    """Whatever fails, the writing of the new text or its move to its place."""
    folder = claim(claimed)
    folder.finish({"steps": 1})

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(owner, step, fail)
    with pytest.raises(OSError, match="the disk is full"):
        folder.finish({"steps": 2})
    assert folder.results() == {"steps": 1}


def test_results_are_those_of_a_finished_run(tmp_path):
    folder = claim(tmp_path / "run")
    assert folder.results() is None
    folder.finish({"test": {"click@all": {"auc": 0.5, "ece": None}}})
    assert claim(tmp_path / "run").results() == {"test": {"click@all": {"auc": 0.5, "ece": None}}}


class Scalars:
    """Stands for the TensorBoard writer."""

    def __init__(self, path, purge_step):
        self.path, self.purge_step, self.got = path, purge_step, []

    def add_text(self, *text):
        pass

    def add_scalar(self, *scalar):
        self.got.append(scalar)

    def close(self):
        pass


def records(*steps):
    return [{"kind": "train", "step": s, "epoch": s / 10, "loss/click": 0.5} for s in steps]


def logged(path, *steps) -> Workdir:
    folder = claim(path)
    folder.resume_log_at(0)
    for record in records(*steps):
        folder.log(record)
    folder.close()
    return folder


def test_records_are_logged_once_here_and_once_for_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "SummaryWriter", Scalars)
    folder = claim(tmp_path / "run")
    folder.resume_log_at(4)
    record = {"kind": "validation", "step": 5, "epoch": 0.5, "click@all/auc": 0.7, "mean": None}
    folder.log(record)
    assert folder.history() == [record]
    (tracker,) = folder.trackers
    writer = tracker.tracker.writer
    assert writer.path == str(tmp_path / "run/tensorboard")
    assert writer.purge_step == 5  # the first step that is not yet shown
    assert writer.got == [("validation/click@all/auc", 0.7, 5)]


def test_events_are_written(tmp_path):
    logged(tmp_path / "run", 1, 2)
    (events,) = (tmp_path / "run/tensorboard").iterdir()
    assert b"train/loss/click" in events.read_bytes()


def test_a_resumed_log_drops_what_will_be_logged_again(tmp_path):
    logged(tmp_path / "run", 2, 4, 6)
    folder = claim(tmp_path / "run")
    folder.resume_log_at(4)
    assert folder.history() == records(2, 4)
    folder.log(*records(6))
    folder.close()
    assert folder.history() == records(2, 4, 6)


def test_a_line_that_a_crash_cut_short_is_dropped(tmp_path):
    folder = logged(tmp_path / "run", 2, 4)
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    assert folder.history() == records(2, 4)
    folder.resume_log_at(4)
    folder.log(*records(6))
    folder.close()
    assert folder.history() == records(2, 4, 6)
