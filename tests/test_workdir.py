"""Whose a folder is, and that what is in it outlives every mistake and every crash."""

import hashlib
import json
import os
import pathlib
from unittest.mock import Mock

import pytest

from configs import adult
from dtn_jax import train, workdir
from dtn_jax.analysis.finished import best_state
from dtn_jax.checkpoint import Checkpoints
from dtn_jax.config import checked_config, identity
from dtn_jax.errors import UserError
from dtn_jax.run import Run
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.shared_files import locked
from dtn_jax.workdir import Workdir

SCHEMA = Schema("shop", fields=(Field("item", rows=3),), tasks=(Task("click"),))
FINGERPRINT = "a1" * 32


def config(**changes):
    made = adult.get_config("dtn")
    made.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return checked_config(made)


def claim(path, fingerprint=FINGERPRINT, **changes):
    folder = Workdir(path, config(**changes), SCHEMA, fingerprint)
    folder.close()  # the test may claim it again
    return folder


def refused(path, *arguments, **changes) -> str:
    """The message with which a folder is refused; nothing in it may change."""
    before = contents(path)
    with pytest.raises(UserError) as caught:
        claim(path, *arguments, **changes)
    assert contents(path) == before
    return str(caught.value)


def contents(path) -> dict[str, str]:
    """{file: SHA-256 of its bytes}, and the folders."""
    found = [path, *path.rglob("*")]
    return {
        str(p): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder"
        for p in found
        if p.exists()
    }


@pytest.fixture
def claimed(tmp_path):
    claim(tmp_path / "run")
    (tmp_path / "run/results.json").write_text("{}")
    (tmp_path / "run/checkpoints").mkdir()
    (tmp_path / "run/checkpoints/7").write_bytes(b"\0\1")
    return tmp_path / "run"


# ---------------------------------------------------------------- whose a folder is


def test_a_new_folder_is_made_and_says_whose_it_is(tmp_path):
    folder = claim(tmp_path / "runs/new")
    assert {p.name for p in folder.path.iterdir()} == {"config.json", "schema.json", "lock"}
    facts = json.loads((folder.path / "config.json").read_text())
    assert identity(facts["config"]) == identity(config())
    assert facts["data"] == FINGERPRINT
    assert set(facts["versions"]) == {"python", *workdir.PACKAGES}
    assert Schema.load(folder.path / "schema.json") == SCHEMA


def test_of_two_processes_one_alone_works_in_a_folder(tmp_path):
    first = Workdir(tmp_path / "run", config(), SCHEMA, FINGERPRINT)
    with pytest.raises(workdir.Busy, match=r"another process works in workdir .*run"):
        Workdir(tmp_path / "run", config(), SCHEMA, FINGERPRINT)
    first.close()
    claim(tmp_path / "run")


def test_a_process_that_dies_frees_its_folder_even_before_it_wrote(tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("lock", "schema.json.a7.tmp", "schema.json", "config.json.a7.tmp"):
        (tmp_path / "run" / name).touch()
    assert (claim(tmp_path / "run").path / "config.json").exists()


@pytest.mark.parametrize("names", [("schema.json",), ("lock", "notes.tmp"), ("lock", "mine")])
def test_what_no_run_left_is_not_taken(names, tmp_path):
    (tmp_path / "run").mkdir()
    for name in names:
        (tmp_path / "run" / name).touch()
    assert "holds no run" in refused(tmp_path / "run")


def test_a_finished_run_that_cannot_be_written_can_be_looked_at(claimed, monkeypatch):
    def refuses(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(workdir, "locked", refuses)
    assert claim(claimed).results() == {}
    (claimed / "results.json").unlink()
    assert "cannot be written: Permission denied" in refused(claimed)


def test_a_folder_that_another_config_has_just_taken_is_refused(tmp_path, monkeypatch):
    def slow(path):
        monkeypatch.undo()
        claim(tmp_path / "run", seed=5)
        return locked(path)

    monkeypatch.setattr(workdir, "locked", slow)
    with pytest.raises(UserError, match="seed: 5 there, 0 now"):
        claim(tmp_path / "run")


def test_a_file_system_without_locks_refuses_nobody(tmp_path, monkeypatch):
    def absent(*_):
        raise OSError("no locks here")

    monkeypatch.setattr(workdir.fcntl, "flock", absent)
    first = Workdir(tmp_path / "run", config(), SCHEMA, FINGERPRINT)
    claim(tmp_path / "run")
    first.close()


def test_an_empty_folder_and_one_below_home_will_do(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "empty").mkdir()
    assert claim("~/empty").path == tmp_path / "empty"
    assert (tmp_path / "empty/config.json").exists()


def test_the_same_config_may_come_back(claimed):
    before = contents(claimed)
    claim(claimed)
    assert contents(claimed) == before


def test_runtime_options_may_change(claimed):
    claim(claimed, parallel__devices=2, train__log_every=7, data__placement="stream")
    stored = json.loads((claimed / "config.json").read_text())["config"]
    assert stored["parallel"]["devices"] == 0  # what began the run stays on record


def test_another_config_is_refused_with_the_keys_that_differ(claimed):
    message = refused(
        claimed, seed=3, model__gdcn__layers=4, model__mlp__hidden=(8, 4), optim__tables="sgd"
    )
    assert f"workdir {claimed} belongs to another config; name another folder." in message
    assert set(message.splitlines()[1:]) == {
        "  seed: 0 there, 3 now",
        "  model.gdcn.layers: 2 there, 4 now",  # no mlp is in it
        "  optim.tables: 'adam' there, 'sgd' now",
    }


def test_a_runtime_option_is_not_among_the_keys_that_differ(claimed):
    assert "log_every" not in refused(claimed, seed=3, train__log_every=7)


def test_many_keys_that_differ_are_counted(claimed):
    keys = ("b1", "b2", "eps", "table_l2", "table_init", "codebook_init", "clip", "weight_decay")
    message = refused(claimed, seed=3, **{f"optim__{k}": 0.125 for k in keys})
    assert len(message.splitlines()) == 1 + workdir.SHOWN + 1
    assert message.splitlines()[-1] == "  and 1 more"


def test_an_option_that_a_folder_of_another_version_lacks_or_has(claimed):
    facts = json.loads((claimed / "config.json").read_text())
    del facts["config"]["optim"]["clip"]
    facts["config"]["optim"]["momentum"] = 0.9
    (claimed / "config.json").write_text(json.dumps(facts))
    assert refused(claimed, optim__clip=1.0).splitlines()[1:] == [  # one that it lacks: default
        "  optim.momentum: 0.9 there, the default now",
        "  optim.clip: the default there, 1.0 now",
    ]


def test_other_data_are_refused(claimed):
    message = refused(claimed, "b2" * 32)
    assert "belongs to another version of the data set" in message
    assert f"fingerprint {FINGERPRINT[:12]} there, {'b2' * 6} now" in message


# ---------------------------------------------------------------- whose logits held log w


def of_an_older_version(path, weights):
    """A run's folder as it was before logits were log-odds."""
    claim(path, loss__positive_weights=weights)
    facts = json.loads((path / "config.json").read_text())
    assert facts.pop("logits") == "log-odds"
    (path / "config.json").write_text(json.dumps(facts))
    return path


def test_inflated_logits_are_not_trained_on(tmp_path):
    weights = "income=3,never_married=1"
    folder = of_an_older_version(tmp_path / "run", weights)
    message = refused(folder, loss__positive_weights=weights)
    assert "checkpoints in" in message
    assert "its logits held log w; train again in another folder" in message
    (folder / "results.json").write_text("{}")  # finished: its results are right
    assert claim(folder, loss__positive_weights=weights).results() == {}


def test_inflated_logits_are_not_scored_with(tmp_path):
    folder = of_an_older_version(tmp_path / "run", "income=3")
    (folder / "results.json").write_text("{}")
    run = Mock(Run, data=Mock(fingerprint=FINGERPRINT))
    with pytest.raises(workdir.Unusable, match="its logits held log w"):
        best_state(run, folder)
    with pytest.raises(workdir.Unusable, match="its logits held log w"):  # a trial without test
        train.start(run, Mock(Workdir, path=folder), Mock(Checkpoints))


@pytest.mark.parametrize("weights", ["", "income=1"])
def test_older_runs_whose_positives_weigh_1_go_on(weights, tmp_path):
    folder = of_an_older_version(tmp_path / "run", weights)
    claim(folder, loss__positive_weights=weights)


# ---------------------------------------------------------------- what is refused besides


@pytest.mark.parametrize("name", ["thesis.tex", ".hidden", "folder/"])
def test_a_folder_with_other_things_is_refused(tmp_path, name):
    if name.endswith("/"):
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("dear")
    message = refused(tmp_path)
    assert f"workdir {tmp_path} is not empty and holds no run (no config.json)" in message


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("dear")
    message = refused(tmp_path / "file")
    assert message == f"workdir {tmp_path / 'file'} is a file, expected a folder"


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("dear")
    message = refused(tmp_path / "file/run")
    assert message == f"workdir {tmp_path / 'file/run'} cannot be written: Not a directory"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"config": {"seed"',
        b"[]",
        b"3",
        b"{}",
        b'{"config": {}}',
        b'{"config": 3, "data": "x"}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_config_is_refused(claimed, text):
    (claimed / "config.json").write_bytes(text)
    message = refused(claimed)
    assert f"{claimed / 'config.json'} is damaged" in message
    assert "name another folder" in message


# ---------------------------------------------------------------- what a run writes


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
    monkeypatch.setattr(workdir, "SummaryWriter", Scalars)
    folder = claim(tmp_path / "run")
    folder.resume_log_at(4)
    record = {"kind": "validation", "step": 5, "epoch": 0.5, "click@all/auc": 0.7, "mean": None}
    folder.log(record)
    assert folder.history() == [record]
    assert folder.writer.path == str(tmp_path / "run/tensorboard")
    assert folder.writer.purge_step == 5  # the first step that is not yet shown
    assert folder.writer.got == [("validation/click@all/auc", 0.7, 5)]


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
