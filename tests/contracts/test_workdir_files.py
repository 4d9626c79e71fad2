"""What a run writes outlives every interruption: results, records, TensorBoard events."""

import errno
import json
import os
import pathlib
from unittest.mock import Mock

import pytest
from claimed_folders import RESULTS, claim
from refused_configs import refused

from dtn_jax import shared_files
from dtn_jax.report.trackers import tensorboard
from dtn_jax.workdir import found


@pytest.mark.parametrize(("owner", "step"), [(os, "fsync"), (pathlib.Path, "replace")])
def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch, owner, step):
    """Whatever fails, the writing of the new text or its move to its place."""
    folder = claim(tmp_path / "run")
    assert folder.results() is None
    folder.finish(RESULTS)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(owner, step, Mock(side_effect=full))
    with pytest.raises(OSError, match="No space left") as caught:
        folder.finish(RESULTS | {"steps": 2})
    path = folder.path / "results.json"
    assert shared_files.told(caught.value).startswith(f"{path}: No space left on device; ma")
    assert claim(tmp_path / "run").results() == RESULTS
    assert not list(folder.path.glob("*.tmp"))


def test_replicas_are_found_in_order_beside_a_copy_of_one(tmp_path):
    for name in ("10", "2", "old", "2.bak"):
        (tmp_path / f"replica_{name}").mkdir()
        (tmp_path / f"replica_{name}/config.json").touch()
    assert [path.name for path in found.runs_in(tmp_path)] == ["replica_2", "replica_10"]
    (tmp_path / "config.json").touch()
    message = refused(found.runs_in, tmp_path)
    assert "a single run and 2 replicas" in message
    assert str(tmp_path / "replica_10") in message


@pytest.mark.parametrize("key", RESULTS)
def test_results_that_are_none_are_told(tmp_path, key):
    """Edited, incomplete, or of other types."""
    folder = claim(tmp_path / "run")
    path = folder.path / "results.json"
    folder.finish(RESULTS)
    path.write_text(path.read_text().replace("0.5", "0.6"))
    assert "results.json has changed since it was saved" in refused(folder.results)
    others = [{k: v for k, v in RESULTS.items() if k != key}]
    others += [RESULTS | {key: value} for value in (None, [], {"mean": []})]
    for other in others + [RESULTS | {key: "x"}] * (type(RESULTS[key]) is not str):
        path.write_text(json.dumps(other))
        assert "results.json is damaged" in refused(folder.results)


# ---------------------------------------------------------------- records


def records(*steps):
    return [{"kind": "train", "step": s, "epoch": s / 10, "loss/click": 0.5} for s in steps]


@pytest.fixture
def logged(tmp_path):
    """(steps) -> a run that has logged a record at each, and was closed."""

    def call(*steps):
        folder = claim(tmp_path / "run")
        folder.resume_log_at(0)
        log(folder, *steps)
        return folder

    return call


def log(folder, *steps):
    for record in records(*steps):
        folder.log(record)
    folder.close()


def test_events_are_written(logged):
    (events,) = (logged(1, 2).path / "tensorboard").iterdir()
    assert b"train/loss/click" in events.read_bytes()


def test_records_are_logged_once_here_and_once_for_tensorboard(tmp_path, monkeypatch):
    writer = Mock()
    monkeypatch.setattr(tensorboard, "SummaryWriter", writer)
    folder = claim(tmp_path / "run")
    folder.resume_log_at(4)
    record = {"kind": "validation", "step": 5, "epoch": 0.5, "click@all/auc": 0.7, "mean": None}
    folder.log(record)
    assert folder.history() == [record]
    writer.assert_called_once_with(str(tmp_path / "run/tensorboard"), purge_step=5)
    writer().add_scalar.assert_called_once_with("validation/click@all/auc", 0.7, 5)


def test_a_resumed_log_drops_what_will_be_logged_again(tmp_path, logged):
    """And a line that a crash cut short."""
    folder = logged(2, 4, 6)
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    assert folder.history() == records(2, 4, 6)
    folder = claim(tmp_path / "run")
    folder.resume_log_at(4)
    assert folder.history() == records(2, 4)
    log(folder, 6)
    assert folder.history() == records(2, 4, 6)


DAMAGED = [
    *(b'{"kind"', b"\xff\xfe\0", b"7", b"null", b"[]", b"[" * 10_000, b'{"kind": "train"}'),
    b'{"kind": "train", "step": "4", "epoch": 0.4}',
    b'{"kind": "train", "step": 4, "epoch": 0.4, "loss/click": []}',
]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_costs_no_other(logged, capsys, line):
    folder = logged(2, 4, 6, 8)
    path = folder.path / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], line, *lines[2:]]))
    assert folder.history() == records(2, 6, 8)
    folder.resume_log_at(6)
    log(folder, 8)
    assert folder.history() == records(2, 6, 8)
    assert f"{path}, line 2: " in capsys.readouterr().out
    assert (folder.path / "metrics.damaged").read_bytes() == b"2: " + line + b"\n"


def test_a_folder_in_place_of_the_log_is_told(tmp_path):
    folder = claim(tmp_path / "run")
    (folder.path / "metrics.jsonl").mkdir()
    assert "metrics.jsonl is a folder" in refused(folder.history)
