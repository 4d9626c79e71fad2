"""dtn-jax feature_importance on a finished run: what it measures, leaves and refuses."""

import csv
import json
import shutil

import numpy as np
import pytest
from command_calls import WATCHED, logged, refusal, results_of
from damaged_bytes import flip, large_file

from configs import base
from dtn_jax.analysis import explain, watch
from dtn_jax.analysis.explain import Settings
from dtn_jax.analysis.finished import best_state, read_config
from dtn_jax.cli import export, feature_importance, train
from dtn_jax.errors import UserError
from dtn_jax.run.run import build_run
from experiments import importance_report

pytest_plugins = ["finished_runs"]
pytestmark = pytest.mark.usefixtures("in_the_repository")


@pytest.mark.slow
def test_a_run_watched_is_the_same_run(finished, tmp_path):
    train.main([WATCHED, f"--workdir={tmp_path / 'run'}", "--config.analysis.rows=0"])
    assert logged(tmp_path / "run", watch.KIND) == []
    for kind in ("train", "validation"):
        assert logged(tmp_path / "run", kind) == logged(finished, kind) != []


def test_what_was_watched_is_logged(finished):
    records = logged(finished, watch.KIND)
    assert [r["step"] for r in records] == [2, 4]
    assert [r["epoch"] for r in records] == [r["epoch"] for r in logged(finished, "validation")]
    table = watch.over_training(records)
    for step in (2, 4):
        own = [r["value"] for r in table if (r["panel"], r["step"]) == ("income", step)]
        assert sum(own) == pytest.approx(1, rel=1e-5)
    cosines = [row for row in table if row["panel"] == watch.CONFLICT]
    assert [(row["line"], row["step"]) for row in cosines] == [
        ("income, never_married", 2),
        ("income, never_married", 4),
    ]


def test_what_the_command_leaves(explained, finished):
    workdir, found, opened = explained
    assert set(opened) == {"validation"}
    assert found["rows"] == 3_256
    assert found["step"] == results_of(finished)["best_steps"]["mean"]
    for row in found["quality"]:
        auc = results_of(finished)["validation"][row["key"]]["auc"]
        assert row["value"] == pytest.approx(auc, abs=1e-5)
    assert len(found["importance"]) == 2 * 2 * 12
    age = next(row for row in found["importance"] if row["field"] == "age")
    assert (age["method"], age["key"]) == ("permutation", "income@all")
    assert age["low"] < age["importance"] < age["high"]
    assert [row["method"] for row in found["divergence"]] == ["permutation", "unknown"]
    whole = [row for row in found["gates"] if row["part"] == "all rows"]
    assert [row["gate"] for row in whole] == ["income"] * 2 + ["never_married"] * 2
    assert {row["whose"] for row in whole} == {"shared"}
    assert sum(row["weight"] for row in whole) == pytest.approx(2, abs=1e-5)
    parts = {row["part"] for row in found["gates"]} - {"all rows"}
    assert {part.split()[0] for part in parts} == {"workclass"}
    counts = [int(part.split("(")[1].strip(")").replace(",", "")) for part in parts]
    assert 3_100 < sum(counts) <= 3_256  # but for those of rare values
    assert found["over_training"][0]["step"] == 2
    experts = list(dict.fromkeys(row["expert"] for row in found["pairs"]))
    assert experts == ["shared/gdcn_0", "shared/gdcn_1"]
    folder = workdir / "importance"
    names = {p.name for p in folder.iterdir()}
    assert names == {
        "importance.json", "importance.csv", "importance.md", "importance_permutation.png",
        "importance_unknown.png", "divergence.png", "gates.png", "over_training.png",
    }  # fmt: skip
    with (folder / "importance.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["field"] for row in table] == [row["field"] for row in found["importance"]]
    assert [float(row["high"]) for row in table] == [row["high"] for row in found["importance"]]
    text = (folder / "importance.md").read_text()
    assert "| relationship |" in text
    assert "(importance_permutation.png)" in text


def test_the_command_passes_on_what_it_is_asked(explained, tmp_path, monkeypatch, capsys):
    workdir, found, _ = explained
    shutil.copytree(workdir, tmp_path / "run")
    asked = []

    def noted(run, state, settings, history, bar):
        asked.append(settings)
        assert history[-1]["step"] == 4
        of_run = ("settings", "date", "versions", "step", "run", "dataset", "architecture")
        return {k: v for k, v in found.items() if k not in of_run} | {"split": settings.split}

    monkeypatch.setattr(explain, "explain", noted)
    given = ["--split=test", "--methods=unknown", "--repeats=2", "--rows=9", "--segment=gender"]
    feature_importance.main([f"--workdir={tmp_path / 'run'}", *given])
    assert asked == [Settings("test", ("unknown",), 2, 9, "gender", 0)]
    stored = json.loads((tmp_path / "run/importance/importance.json").read_text())
    assert stored["split"] == "test"
    assert stored["settings"] == vars(asked[0]) | {"methods": ["unknown"]}
    shown = capsys.readouterr().out
    assert "when unknown" in shown
    assert f"are in {tmp_path / 'run/importance'}" in shown


QUICK = ("--rows=1000", "--repeats=2")


def edited(finished, tmp_path, name, edit):
    """A copy of the finished run in which a JSON file was edited."""
    shutil.copytree(finished, tmp_path / "run")
    path = tmp_path / "run" / name
    facts = json.loads(path.read_text())
    edit(facts)
    path.write_text(json.dumps(facts))
    return f"--workdir={tmp_path / 'run'}"


def refused(*arguments):
    return refusal(feature_importance.main, *arguments)


def test_folders_without_a_finished_run_are_refused(finished, tmp_path):
    assert refused().startswith("--workdir is missing")
    assert "is not there; expected the workdir of a" in refused(f"--workdir={tmp_path / 'none'}")
    assert "holds no run (no config.json)" in refused(f"--workdir={tmp_path}")
    shutil.copytree(finished, tmp_path / "replica_1")
    (tmp_path / "replica_1/results.json").unlink()
    assert "is not finished: it logged step" in refused(f"--workdir={tmp_path / 'replica_1'}")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--methods=permutation,shap", "unknown method 'shap'. The choices are: permutation, unk"),
        ("--methods=", "--methods is missing"),
        ("--repeats=0", "--repeats=0: expected at least 1"),
        ("--rows=-1", "--rows=-1: expected at least 1"),
        ("--seed=-1", "--seed=-1: expected at least 0"),
        ("--rows=many", "invalid int value: 'many'"),
    ],
)
def test_bad_arguments_are_refused(finished, argument, message):
    assert message in refused(f"--workdir={finished}", *QUICK, argument)
    assert logged(finished, "validation")


def test_bad_input_costs_nothing_that_is_written(explained, tmp_path, monkeypatch):
    """Nor does what fails or is interrupted on the way."""
    workdir = tmp_path / "run"
    shutil.copytree(explained[0], workdir)
    (workdir / "importance/notes.png").write_bytes(b"the user's own")

    def contents():
        files = [p for p in workdir.rglob("*") if p.is_file() and p.parent.name != "checkpoints"]
        return {path.relative_to(workdir): path.read_bytes() for path in files}

    before = contents()
    for given, told in {
        "--segment=agee": "unknown segment 'agee'",
        "--split=valid": "unknown split 'valid'",
        "--rows=1": "nothing to measure",
    }.items():
        assert told in refused(f"--workdir={workdir}", *QUICK, given)
    assert contents() == before
    with monkeypatch.context() as patch:  # before the state is read
        patch.setattr(explain, "best_state", None)
        refused(f"--workdir={workdir}", *QUICK, "--segment=agee")

    def stopped(run, state, settings, history, bar):
        raise KeyboardInterrupt

    monkeypatch.setattr(explain, "explain", stopped)
    with pytest.raises(KeyboardInterrupt):
        feature_importance.main([f"--workdir={workdir}", *QUICK])
    assert contents() == before


def test_a_damaged_best_state_is_neither_explained_nor_exported(finished, tmp_path):
    workdir = shutil.copytree(finished, tmp_path / "run")
    for folder in (workdir / "checkpoints").glob("*/*"):
        flip(large_file(folder), 4321)
    assert "has changed since it was saved" in refused(f"--workdir={workdir}", *QUICK)
    with pytest.raises(UserError, match="has changed since it was saved"):
        export.main([f"--workdir={workdir}", f"--out={tmp_path / 'model'}"])
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda facts: facts["config"]["model"].update(depth=3), "does not know: model.depth"),
        (lambda facts: facts.update(data="0" * 64), "belongs to another version of the data set"),
    ],
)
def test_a_run_of_another_version_or_data_set_is_refused(finished, tmp_path, edit, told):
    workdir = edited(finished, tmp_path, "config.json", edit)
    assert told in refused(workdir)


def test_a_run_older_than_an_option_has_its_default(finished, tmp_path):
    def younger(facts):
        del facts["config"]["analysis"]
        del facts["config"]["model"]["stem"]  # part of a run's identity

    edited(finished, tmp_path, "config.json", younger)
    found = read_config(tmp_path / "run", base.get_config())
    assert found.analysis.rows == 0
    assert (found.train.max_steps, found.model.stem.levels) == (4, 1)
    _, step = best_state(build_run(found), tmp_path / "run")
    assert step == results_of(finished)["best_steps"]["mean"]


def test_the_committed_report_is_what_is_written_from_the_committed_json():
    importance_report.main(["--check"])


def test_what_is_not_finite_is_null_in_json():
    found = explain.plain_numbers({"a": 0.123456789, "b": [np.nan, 1, True]})
    assert found == {"a": 0.123457, "b": [None, 1, True]}
