"""What a run writes outlives every interruption: results, records, TensorBoard events."""

import errno
import json
import os
import pathlib

import claimed_folders
import pytest
from claimed_folders import RESULTS, claim

from dtn_jax import shared_files, workdir
from dtn_jax.errors import UserError
from dtn_jax.report.trackers import tensorboard
from dtn_jax.workdir import Workdir, found

claimed = claimed_folders.claimed


@pytest.mark.parametrize(("owner", "step"), [(os, "fsync"), (pathlib.Path, "replace")])
def test_a_file_is_whole_or_as_it_was(claimed, monkeypatch, owner, step):
    """Whatever fails, the writing of the new text or its move to its place."""
    folder = claim(claimed)
    folder.finish(RESULTS)

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(owner, step, fail)
    with pytest.raises(OSError, match="the disk is full"):
        folder.finish(RESULTS | {"steps": 2})
    assert folder.results() == RESULTS
    assert not list(folder.path.glob("*.tmp"))


def test_what_the_disk_refuses_is_told_of_the_file(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError) as caught:
        shared_files.write_whole(tmp_path / "none/a", "text")
    assert shared_files.told(caught.value).startswith(f"{tmp_path}/none/a: No such file")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        shared_files.write_whole(tmp_path / "a", "text")
    assert shared_files.told(caught.value).startswith(f"{tmp_path}/a: No space left on device; ma")
    assert not list(tmp_path.iterdir())


def test_results_are_those_of_a_finished_run(tmp_path):
    folder = claim(tmp_path / "run")
    assert folder.results() is None
    folder.finish(RESULTS)
    assert claim(tmp_path / "run").results() == RESULTS


def test_a_run_s_replicas_are_found_in_order_beside_a_copy_of_one(tmp_path):
    for name in ("10", "2", "old", "2.bak"):
        (tmp_path / f"replica_{name}").mkdir()
        (tmp_path / f"replica_{name}/config.json").touch()
    assert [path.name for path in found.runs_in(tmp_path)] == ["replica_2", "replica_10"]


def test_a_folder_of_replicas_takes_no_single_run(tmp_path):
    claim(tmp_path / "run/replica_0")
    with pytest.raises(workdir.Unusable, match=r"holds 1 replicas: give --config\.replicas"):
        claim(tmp_path / "run")
    (tmp_path / "run/config.json").touch()
    with pytest.raises(
        workdir.Unusable, match=r"a single run and 1 replicas; name .*replica_0, or"
    ):
        found.runs_in(tmp_path / "run")


def test_an_edited_number_of_the_results_is_told(tmp_path):
    folder = claim(tmp_path / "run")
    folder.finish(RESULTS)
    path = folder.path / "results.json"
    path.write_text(path.read_text().replace("0.5", "0.6"))
    with pytest.raises(workdir.Unusable, match=r"results.json has changed since it was saved"):
        folder.results()


@pytest.mark.parametrize("key", RESULTS)
@pytest.mark.parametrize("other", [None, [], {"mean": []}, "x"])
def test_results_that_are_none_are_told(tmp_path, key, other):
    if type(other) is type(RESULTS[key]) and key not in ("best_steps", "validation"):
        return
    folder = claim(tmp_path / "run")
    lacking = {name: value for name, value in RESULTS.items() if name != key}
    for text in (json.dumps(lacking), json.dumps(lacking | {key: other})):
        (folder.path / "results.json").write_text(text)
        with pytest.raises(workdir.Unusable, match=r"results.json is damaged .*; delete it"):
            folder.results()


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


DAMAGED = [
    *(b'{"kind"', b"\xff\xfe\0", b"7", b"null", b"[]", b"[" * 10_000, b'{"kind": "train"}'),
    b'{"kind": "train", "step": "4", "epoch": 0.4}',
    b'{"kind": "train", "step": 4, "epoch": 0.4, "loss/click": []}',
]


@pytest.mark.parametrize("line", DAMAGED)
def test_a_damaged_line_costs_no_other(tmp_path, capsys, line):
    folder = logged(tmp_path / "run", 2, 4, 6, 8)
    path = folder.path / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], line, *lines[2:]]))
    assert folder.history() == records(2, 6, 8)
    folder.resume_log_at(6)
    folder.log(*records(8))
    folder.close()
    assert folder.history() == records(2, 6, 8)
    assert f"{path}, line 2: no record can be read; kept in" in capsys.readouterr().out
    assert (folder.path / "metrics.damaged").read_bytes() == b"2: " + line + b"\n"


def test_a_folder_in_place_of_the_log_is_told(tmp_path):
    folder = claim(tmp_path / "run")
    (folder.path / "metrics.jsonl").mkdir()
    with pytest.raises(UserError, match=r"metrics.jsonl is a folder, expected the file of"):
        folder.history()


def test_a_link_in_place_of_the_lock_is_refused_and_its_target_whole(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/lock").symlink_to(tmp_path / "precious")
    with pytest.raises(workdir.Unusable, match="lock: Too many levels of symbolic links"):
        claim(tmp_path / "run")
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("place", ["gs://bucket/run", "file:///a", "/tmp/\udcff"])
def test_a_place_that_can_be_no_folder_is_told(place):
    with pytest.raises(workdir.Unusable, match=r"is a URL|is no text in UTF-8"):
        claim(place)


def test_a_line_that_a_crash_cut_short_is_dropped(tmp_path):
    folder = logged(tmp_path / "run", 2, 4)
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    assert folder.history() == records(2, 4)
    folder.resume_log_at(4)
    folder.log(*records(6))
    folder.close()
    assert folder.history() == records(2, 4, 6)
