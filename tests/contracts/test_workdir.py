"""A run's folder: whose it is, which none may claim, and that what it holds stays whole."""

import errno
import json
import os
import pathlib
import sys
from unittest.mock import Mock

import claimed_folders
import pytest
from claimed_folders import FINGERPRINT, RESULTS, SCHEMA, claim, config, refused
from command_calls import contents, tensorboard_events
from refused_configs import refused as told
from tensorboardX.proto.event_pb2 import SessionLog

from dtn_jax import errors
from dtn_jax.analysis.finished import best_state
from dtn_jax.cli import compare, export
from dtn_jax.config import identity
from dtn_jax.errors import UserError
from dtn_jax.report.versions import PACKAGES
from dtn_jax.run import outcome, workdir
from dtn_jax.run.run import Run
from dtn_jax.run.workdir import Workdir
from dtn_jax.schema import Schema

claimed = claimed_folders.claimed


def lay(folder, files):
    """Makes the files, and the folders, whose names end in '/'."""
    for name, text in files.items():
        path = folder / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(text)


# ---------------------------------------------------------------- who claims it


def test_a_new_folder_is_made_and_says_whose_it_is(tmp_path):
    folder = claim(tmp_path / "runs/new")
    assert {p.name for p in folder.path.iterdir()} == {"config.json", "schema.json", "lock"}
    facts = json.loads((folder.path / "config.json").read_text())
    assert identity(facts["config"]) == identity(config())
    assert facts["data"] == FINGERPRINT
    assert set(facts["versions"]) == {"python", *PACKAGES}
    assert Schema.load(folder.path / "schema.json") == SCHEMA


def test_an_empty_folder_and_one_below_home_will_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    lay(tmp_path, {"empty/": None})
    assert claim("~/empty").path == tmp_path / "empty"
    assert (tmp_path / "empty/config.json").exists()


def test_of_two_processes_one_alone_works_in_a_folder(tmp_path):
    first = Workdir(tmp_path / "run", config(), SCHEMA, FINGERPRINT)
    with pytest.raises(workdir.Busy, match=r"another process works in workdir .*run"):
        Workdir(tmp_path / "run", config(), SCHEMA, FINGERPRINT)
    first.close()
    claim(tmp_path / "run")


def test_a_folder_that_cannot_be_written_is_told(claimed, monkeypatch):
    denied = PermissionError(13, "Permission denied")
    monkeypatch.setattr(workdir, "locked", Mock(side_effect=denied))
    assert "cannot be written: Permission denied" in refused(claimed)


def test_the_same_config_may_come_back_with_other_runtime_options(claimed):
    before = contents(claimed)
    claim(claimed)
    claim(claimed, parallel__devices=2, train__log_every=7, data__placement="stream")
    assert contents(claimed) == before  # what began the run stays on record


def test_a_run_that_is_not_finished_says_how_far_it_is_and_what_resumes_it(tmp_path, monkeypatch):
    """Before anything is loaded; of replicas the one is named."""
    line = ["dtn-jax train", "--config=my models.py:dtn", f"--workdir={tmp_path}/a"]
    line += ["--storage=mysql://me:secret@host/db"]
    monkeypatch.setattr(sys, "argv", line)
    for n, step in enumerate((940, 120)):
        folder = Workdir(tmp_path / f"a/replica_{n}", config(), SCHEMA, FINGERPRINT, None, 940)
        folder.resume_log_at(0)
        folder.log({"kind": "train", "step": step, "epoch": step / 94})
        folder.close()
    (tmp_path / "a/replica_0/results.json").write_text("{}")
    (tmp_path / "b.parquet").touch()
    for module in ("comparison.differences", "export.write"):
        monkeypatch.setitem(sys.modules, f"dtn_jax.{module}", None)
    expected = (
        f"the run in {tmp_path}/a/replica_1 is not finished: it logged step 120 of 940, and has no "
        f"results.json; resume it by\n  dtn-jax train '--config=my models.py:dtn' {line[2]} "
        "--storage=mysql://***@host/db"
    )
    assert told(compare.main, [f"{tmp_path}/b.parquet", f"{tmp_path}/a"]) == expected
    assert told(export.main, [f"--workdir={tmp_path}/a", f"--out={tmp_path}/m"]) == expected
    claim(tmp_path / "c", parallel__processes="auto")  # its command is one of several
    assert told(outcome.check_finished, tmp_path / "c").endswith("; resume it first")


# ---------------------------------------------------------------- another run's


def test_another_config_is_refused_with_the_keys_that_differ(claimed):
    """Those too that the stored config lacks, or alone has, as another version wrote it."""
    facts = json.loads((claimed / "config.json").read_text())
    del facts["config"]["optim"]["clip"]
    facts["config"]["optim"]["momentum"] = 0.9
    (claimed / "config.json").write_text(json.dumps(facts))
    changes = {"seed": 3, "model__gdcn__layers": 4, "optim__clip": 1.0, "train__log_every": 7}
    message = refused(claimed, model__mlp__hidden=(8, 4), **changes)
    assert f"workdir {claimed} belongs to another config; name another folder." in message
    assert set(message.splitlines()[1:]) == {
        "  seed: 0 there, 3 now",
        "  model.gdcn.layers: 2 there, 4 now",  # no mlp is in it
        "  optim.clip: the default there, 1.0 now",
        "  optim.momentum: 0.9 there, the default now",
    }


def test_other_data_are_refused(claimed):
    message = refused(claimed, "b2" * 32)
    assert f"fingerprint {FINGERPRINT[:12]} there, {'b2' * 6} now" in message


def test_a_run_of_an_unreleased_version_is_neither_resumed_nor_scored(tmp_path):
    folder = tmp_path / "run"
    claim(folder)
    facts = json.loads((folder / "config.json").read_text())
    assert facts.pop("logits") == "log-odds"
    (folder / "config.json").write_text(json.dumps(facts))
    assert "of an unreleased version; train again in another folder" in refused(folder)
    with pytest.raises(workdir.Unusable, match="unreleased version"):
        best_state(Mock(Run, data=Mock(fingerprint=FINGERPRINT)), folder)


# ---------------------------------------------------------------- no run's


OTHERS = "is not empty and holds no run"


@pytest.mark.parametrize(
    ("files", "place", "named"),
    [
        ({"run/thesis.tex": b"dear"}, "run", OTHERS),
        ({"run/schema.json": b""}, "run", OTHERS),
        ({"run": b"dear"}, "run", "is a file, expected a folder"),
        ({"run": b"dear"}, "run/below", "cannot be written"),
        ({"run/replica_0/config.json": b"{}"}, "run", "--config.replicas"),
        *(
            ({"run/config.json": text}, "run", "config.json is missing or damaged")
            for text in (b"", b'{"config": {"seed"', b"[]", b"{}", b'{"config": {}}', b"\xff\xfe")
        ),
        (
            {"run/config.json": b'{"config": 3, "data": "x"}'},
            "run",
            "config.json is missing or damaged",
        ),
    ],
)
def test_what_no_run_left_is_not_taken(files, place, named, tmp_path):
    lay(tmp_path, files)
    before = contents(tmp_path)
    message = refused(tmp_path / place)
    assert str(tmp_path / place) in message
    assert named in message
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["lr[1e-3]", "a*b", "why?"])
def test_a_name_that_a_glob_reads_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"has one of \* \? \[ \] in it; give another name"):
        claim(tmp_path / name / "run")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["gs://bucket/run", "file:///a"])
def test_a_place_that_can_be_no_folder_is_told(place):
    with pytest.raises(UserError, match="is a URL"):
        claim(place)


# ---------------------------------------------------------------- what a run writes is whole


@pytest.mark.parametrize(("owner", "step"), [(os, "fsync"), (pathlib.Path, "replace")])
def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch, owner, step):
    """Whatever fails, the writing of the new text or its move to its place."""
    folder = claim(tmp_path / "run")
    assert outcome.read(folder.path) is None
    folder.finish(RESULTS)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(owner, step, Mock(side_effect=full))
    with pytest.raises(OSError, match="No space left") as caught:
        folder.finish(RESULTS | {"steps": 2})
    path = folder.path / "results.json"
    assert errors.told(caught.value).startswith(f"{path}: No space left on device; ma")
    assert outcome.read(tmp_path / "run") == RESULTS
    assert not list(folder.path.glob("*.tmp"))


@pytest.mark.parametrize("text", ["", "{", '{"steps": "many"}'])
def test_results_that_the_run_did_not_write_are_told(tmp_path, text):
    folder = claim(tmp_path / "run")
    folder.finish(RESULTS)
    (folder.path / "results.json").write_text(text)
    assert f"{folder.path / 'results.json'} " in (message := told(outcome.read, folder.path))
    assert "missing or damaged" in message or "bytes, expected" in message


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


def test_records_are_logged_once_here_and_once_for_tensorboard(tmp_path):
    """Which hides the steps that a resumed run logs again."""
    folder = claim(tmp_path / "run")
    folder.resume_log_at(4)
    record = {"kind": "validation", "step": 5, "epoch": 0.5, "click@all/auc": 0.75, "mean": None}
    folder.log(record)
    assert outcome.read_log(folder.path) == [record]
    folder.close()
    first, start, logged = tensorboard_events(tmp_path / "run")
    assert first.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (5, SessionLog.START)
    (value,) = logged.summary.value
    assert (logged.step, value.tag, value.simple_value) == (5, "validation/click_all/auc", 0.75)


def test_a_resumed_log_drops_what_will_be_logged_again(tmp_path, logged):
    """And a line that a crash cut short."""
    folder = logged(2, 4, 6)
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')
    assert outcome.read_log(folder.path) == records(2, 4, 6)
    folder = claim(tmp_path / "run")
    folder.resume_log_at(4)
    assert outcome.read_log(folder.path) == records(2, 4)
    log(folder, 6)
    assert outcome.read_log(folder.path) == records(2, 4, 6)


@pytest.mark.parametrize("line", [b'{"kind"', b"\xff\xfe\0", b"7", b"null", b'{"kind": "train"}'])
def test_a_damaged_line_is_named(logged, line):
    folder = logged(2, 4, 6)
    path = folder.path / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], line, *lines[2:]]))
    message = told(outcome.read_log, folder.path)
    assert f"{path}, line 2: no record can be read; delete the line" in message
    path.write_bytes(b"\n".join([lines[0], *lines[2:]]))
    assert outcome.read_log(folder.path) == records(2, 6)
