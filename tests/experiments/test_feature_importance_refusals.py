"""Runs and arguments that experiments.feature_importance refuses, at no cost."""

import json
import shutil
import sys

import pytest
import watched_runs
from saved_states import flip, large_file
from watched_runs import logged

from configs import base
from dtn_jax.analysis import written
from dtn_jax.errors import UserError
from dtn_jax.run import build_run
from experiments import command, export, feature_importance

pytest_plugins = ["finished_runs"]

in_the_repository = watched_runs.in_the_repository
finished = watched_runs.finished
explained = watched_runs.explained

QUICK = ("--rows=1000", "--repeats=2")


def refused(*arguments) -> str:
    with pytest.raises(UserError) as caught:
        feature_importance.main(list(map(str, arguments)))
    return str(caught.value)


def edited(finished, tmp_path, name, edit):
    """A copy of the finished run in which a JSON file was edited."""
    shutil.copytree(finished[0], tmp_path / "run")
    path = tmp_path / "run" / name
    facts = json.loads(path.read_text())
    edit(facts)
    path.write_text(json.dumps(facts))
    return f"--workdir={tmp_path / 'run'}"


def test_the_message_is_all_that_a_shell_sees(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["feature_importance.py", f"--workdir={tmp_path / 'none'}"])
    with pytest.raises(SystemExit) as end:
        command.run(feature_importance.main)
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_folders_without_a_finished_run_are_refused(finished, tmp_path):
    assert refused().startswith("no workdir: give --workdir=DIR")
    assert "is not there; expected the workdir of a" in refused(f"--workdir={tmp_path / 'none'}")
    assert "holds no run (no config.json)" in refused(f"--workdir={tmp_path}")
    shutil.copytree(finished[0], tmp_path / "replica_1")
    assert refused(f"--workdir={tmp_path}").endswith("name one of its replicas, replica_1")
    (tmp_path / "replica_1/results.json").unlink()
    assert "is not finished (no results.json)" in refused(f"--workdir={tmp_path / 'replica_1'}")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--methods=permutation,shap", "unknown method 'shap'. The choices are: permutation, grad"),
        ("--methods=", "no method: give --methods"),
        ("--repeats=0", "--repeats=0: expected at least 1"),
        ("--rows=-1", "--rows=-1: expected at least 1"),
        ("--seed=-1", "--seed=-1: expected at least 0"),
        ("--rows=many", "invalid int value: 'many'"),
        ("--split=dev", "unknown split 'dev'. The choices are: train, validation, test."),
        ("--segment=color", "unknown segment 'color'. The choices are: workclass, education"),
        ("--rows=1", "no task has both classes in 1 rows of validation"),
        ("--config=x", "unrecognized arguments: --config=x"),
    ],
)
def test_bad_arguments_are_refused(finished, argument, message):
    assert message in refused(f"--workdir={finished[0]}", *QUICK, argument)
    assert logged(finished[0], "validation")


def test_bad_input_costs_nothing_that_is_written(explained, tmp_path, monkeypatch):
    """Nor does what fails or is interrupted on the way."""
    workdir = tmp_path / "run"
    shutil.copytree(explained[0], workdir)
    (workdir / "importance/notes.png").write_bytes(b"the user's own")

    def contents():
        files = [p for p in workdir.rglob("*") if p.is_file() and p.parent.name != "checkpoints"]
        return {path.relative_to(workdir): path.read_bytes() for path in files}

    before = contents()
    assert "unknown segment 'agee'" in refused(f"--workdir={workdir}", *QUICK, "--segment=agee")
    assert "unknown split 'valid'" in refused(f"--workdir={workdir}", *QUICK, "--split=valid")
    assert "nothing to measure" in refused(f"--workdir={workdir}", *QUICK, "--rows=1")
    assert contents() == before

    def stopped(run, state, settings, history, folder, bar):
        (folder / "gates.png").write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(feature_importance, "explain", stopped)
    with pytest.raises(KeyboardInterrupt):
        feature_importance.main([f"--workdir={workdir}", *QUICK])
    assert contents() == before


def test_what_is_made_takes_the_place_of_another_calls(tmp_path):
    for name in ("made", "folder"):
        (tmp_path / name).mkdir()
    for name in ("folder/gates.png", "folder/pairs.png", "folder/mine.png", "made/gates.png"):
        (tmp_path / name).write_text(name)
    written.swap(tmp_path / "made", tmp_path / "folder", ["gates.png", "pairs.png"])
    found = {path.name: path.read_text() for path in (tmp_path / "folder").iterdir()}
    assert found == {"gates.png": "made/gates.png", "mine.png": "folder/mine.png"}


def test_a_damaged_best_state_is_neither_explained_nor_exported(finished, tmp_path):
    workdir = shutil.copytree(finished[0], tmp_path / "run")
    for folder in (workdir / "checkpoints").glob("*/*"):
        flip(large_file(folder), 4321)
    assert "has changed since it was saved" in refused(f"--workdir={workdir}", *QUICK)
    with pytest.raises(UserError, match="has changed since it was saved"):
        export.main([f"--workdir={workdir}", f"--out={tmp_path / 'model'}"])
    assert not (tmp_path / "model").exists()


def test_a_run_of_another_version_or_data_set_is_refused(finished, tmp_path):
    def strange(facts):
        facts["config"]["model"]["depth"] = 3

    message = refused(edited(finished, tmp_path, "config.json", strange))
    assert message.endswith("options that this version does not know: model.depth")


def test_another_version_of_the_data_is_refused(finished, tmp_path):
    workdir = edited(finished, tmp_path, "config.json", lambda facts: facts.update(data="0" * 64))
    assert "belongs to another version of the data set" in refused(workdir)


def test_a_run_older_than_an_option_has_its_default(finished, tmp_path):
    def younger(facts):
        del facts["config"]["analysis"]
        del facts["config"]["model"]["stem"]  # part of a run's identity

    edited(finished, tmp_path, "config.json", younger)
    found = feature_importance.read_config(tmp_path / "run", base.get_config())
    assert found.analysis.rows == 0
    assert (found.train.max_steps, found.model.stem.levels) == (4, 1)
    _, step = feature_importance.best_state(build_run(found), tmp_path / "run")
    assert step == finished[1]["best_steps"]["mean"]
