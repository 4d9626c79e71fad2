"""dtn-jax feature_importance on a finished run: what it measures, leaves and refuses."""

import csv
import functools
import json
import shutil

import matplotlib.image
import numpy as np
import pytest
from command_calls import WATCHED, logged, refusal, results_of
from damaged_bytes import flip, large_file

from configs import base
from dtn_jax.analysis import bayes, explain, pairs, watch
from dtn_jax.analysis.explain import Settings
from dtn_jax.analysis.finished import best_state, read_config
from dtn_jax.analysis.importance import Importance, Sample
from dtn_jax.cli import command, export, feature_importance, train
from dtn_jax.data.sets.synthetic import funnel, known_answer
from dtn_jax.errors import UserError
from dtn_jax.run.run import build_run

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
    found = watch.over_training(records)
    own = [found["gates"][f"income → shared/gdcn_{m}"] for m in (0, 1)]
    assert [a[1] + b[1] for a, b in zip(*own)] == pytest.approx([1, 1], rel=1e-5)
    assert list(found["cosines"]) == ["income, never_married"]


def test_what_the_command_leaves(explained, finished):
    workdir, found, opened = explained
    assert set(opened) == {"validation"}
    assert found["rows"] == 3_256
    assert found["step"] == results_of(finished)["best_steps"]["mean"]
    assert set(found["methods"]) == {"permutation", "gradient", "unknown"}
    for key in ("income@all", "never_married@all"):
        auc = results_of(finished)["validation"][key]["auc"]
        assert found["methods"]["permutation"]["base"][key] == pytest.approx(auc, abs=1e-5)
        assert len(found["methods"]["permutation"]["importance"][key]) == 12
        assert found["methods"]["permutation"]["importance"][key]["age"]["error"] > 0
    assert found["truth"] == {}
    assert list(found["gates"]["use"]) == ["income", "never_married"]
    assert found["gates"]["relations"]["income"] == {"shared": 1.0}
    assert found["gates"]["segment"] == "workclass"
    rows = sum(segment["rows"] for segment in found["gates"]["segments"].values())
    assert 3_200 < rows < 3_256  # but for some of rare values
    assert found["over_training"]["gates"]["income → shared/gdcn_0"][0][0] == 2
    assert list(found["pairs"]) == ["shared/gdcn_0", "shared/gdcn_1"]
    folder = workdir / "importance"
    names = {p.name for p in folder.iterdir()}
    assert names == {
        "importance.json", "importance.csv", "importance.md", "importance_permutation.png",
        "importance_gradient.png", "importance_unknown.png", "divergence.png", "gates.png",
        "conflict.png",
        "over_training.png", "pairs.png",
    }  # fmt: skip
    with (folder / "importance.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 3 * 2 * 12
    by_json = found["methods"]["unknown"]["importance"]["income@all"]["race"]
    row = next(r for r in table if (r["method"], r["field"]) == ("unknown", "race"))
    assert float(row["importance"]) == by_json["mean"]
    assert float(row["high"]) == pytest.approx(by_json["mean"] + 1.96 * by_json["error"], rel=1e-4)
    text = (folder / "importance.md").read_text()
    assert "| relationship |" in text
    assert "(importance_permutation.png)" in text


@pytest.mark.slow
def test_pictures_show_something(finished, tmp_path, drawn):
    shutil.copytree(finished, tmp_path / "run")
    feature_importance.main([f"--workdir={tmp_path / 'run'}", "--repeats=1", "--rows=1000"])
    pictures = list((tmp_path / "run/importance").glob("*.png"))
    assert len(pictures) >= 3
    for picture in pictures:
        pixels = matplotlib.image.imread(picture)
        assert min(pixels.shape[:2]) > 200
        assert len(np.unique(pixels[::5, ::5, 0])) > 5


def test_the_command_passes_on_what_it_is_asked(explained, tmp_path, monkeypatch, capsys):
    workdir, found, _ = explained
    shutil.copytree(workdir, tmp_path / "run")
    asked = []

    def noted(run, state, settings, history, folder, bar):
        asked.append(settings)
        assert history[-1]["step"] == 4
        own = {k: v for k, v in found.items() if k not in ("arguments", "date", "versions")}
        return own | {"split": settings.split}

    monkeypatch.setattr(explain, "explain", noted)
    given = ["--split=test", "--methods=gradient", "--repeats=2", "--rows=9", "--segment=gender"]
    feature_importance.main([f"--workdir={tmp_path / 'run'}", *given])
    assert asked == [Settings("test", ("gradient",), 2, 9, "gender", 0)]
    stored = json.loads((tmp_path / "run/importance/importance.json").read_text())
    assert (stored["split"], stored["arguments"]) == ("test", given)
    assert not list((tmp_path / "run/importance").glob("*.png"))  # another call's
    shown = capsys.readouterr().out
    assert "mean change of the logit" in shown
    assert f"are in {tmp_path / 'run/importance'}" in shown


def built(dataset, options=""):
    """A run of WATCHED's model on another data set."""
    named = [f"--config.data.dataset={dataset}", f"--config.data.options={options}"]
    return build_run(command.read_config(WATCHED.removeprefix("--config="), named))


def known(run, split, found, repeats=1):
    """What the known answer says of a split's rows, their keys, and the rows."""
    rows, _ = explain.read_sample(run.data, split, 10**6, 0)
    measured, _ = explain.keys(run.schema, rows, weighted=False)
    names = tuple(key.name for key in measured)
    given, settings = found(names), Settings(repeats=repeats)
    sample = Sample(None, measured, ())
    facts = explain.truth_facts(run, rows, sample, settings, given, lambda *_: lambda: None)
    return facts, measured, rows


def test_synthetic_data_stand_beside_the_known_answer(monkeypatch):
    """What is compared, not how well a model does."""
    monkeypatch.setattr(known_answer, "truth", functools.partial(known_answer.truth, sample=1_000))
    run, of_adult = built("synthetic", "rows=5000"), built("adult")
    spec = funnel.FunnelSpec(rows=5000)

    def right(names):
        true = known_answer.importance(spec)
        shares = np.stack([true[name.split("@")[0]] for name in names], axis=1)
        titles, cov = ("AUC",) * len(names), np.eye(shares.size)
        return {"unknown": Importance(funnel.FIELDS, names, titles, shares[0], shares[None], cov)}

    facts, measured, rows = known(run, "validation", right)
    np.testing.assert_array_equal(rows.ids, funnel.rows(spec, 4000, 500)[0])
    importance = facts["importance"]["click@all"]
    assert importance["f206"]["mean"] > 0.01
    assert importance["f122"]["mean"] == 0
    same = bayes.bayes_importance(spec, rows.ids, measured, 1, Settings().seed)
    assert importance["f206"]["mean"] != same.mean[funnel.FIELDS.index("f206"), 0]  # the model's
    assert facts["agreement"]["unknown"]["click@all"]["rank_correlation"] > 0.7
    assert known(of_adult, "validation", lambda names: {})[0] == {}
    of_group = {group: pairs.known_pairs(run, group) for group in (*funnel.TASKS, "shared")}
    counts = {g: (len(own["own"]), len(own["all"])) for g, own in of_group.items()}
    assert counts == {"click": (3, 3), "cart": (3, 6), "order": (3, 9), "shared": (9, 9)}
    strengths = np.zeros((23, 23))
    strengths[0, 1] = strengths[1, 0] = 2
    both = {"norm": strengths, "term": strengths}
    judged = pairs.expert_facts(both, funnel.FIELDS, of_group["cart"])
    assert judged["norm"]["strongest"][0] == ["f101", "f109_14", 2.0]
    assert (judged["term"]["own"]["known"], judged["term"]["all"]["known"]) == (3, 6)
    assert pairs.group_of("level_0_cart/gdcn_0") == "cart"
    assert pairs.known_pairs(of_adult, "income") == {}


def test_the_known_answer_is_that_of_the_sets_own_law(monkeypatch):
    monkeypatch.setattr(known_answer, "truth", functools.partial(known_answer.truth, sample=1_000))
    run = built("synthetic", "rows=2000,divergence=0,interactions=0.8")
    facts, _, _ = known(run, "train", lambda names: {})
    shares = known_answer.importance(funnel.FunnelSpec(divergence=0, interactions=0.8))
    for f, field in enumerate(funnel.FIELDS):  # click's are all that matter, to every task
        used = any(by_field[field]["mean"] != 0 for by_field in facts["importance"].values())
        assert {used} == {bool(share[f] > 0) for share in shares.values()}
    of_task = {task: pairs.known_pairs(run, task)["own"] for task in funnel.TASKS}
    assert of_task["cart"] == of_task["order"] == of_task["click"]


QUICK = ("--rows=1000", "--repeats=2")


def edited(finished, tmp_path, name, edit):
    """A copy of the finished run in which a JSON file was edited."""
    shutil.copytree(finished, tmp_path / "run")
    path = tmp_path / "run" / name
    facts = json.loads(path.read_text())
    edit(facts)
    path.write_text(json.dumps(facts))
    return f"--workdir={tmp_path / 'run'}"


def test_folders_without_a_finished_run_are_refused(finished, tmp_path):
    assert refusal(feature_importance.main).startswith("--workdir is missing")
    assert "is not there; expected the workdir of a" in refusal(
        feature_importance.main, f"--workdir={tmp_path / 'none'}"
    )
    assert "holds no run (no config.json)" in refusal(
        feature_importance.main, f"--workdir={tmp_path}"
    )
    shutil.copytree(finished, tmp_path / "replica_1")
    assert refusal(feature_importance.main, f"--workdir={tmp_path}").endswith(
        "name one of its replicas, replica_1"
    )
    (tmp_path / "replica_1/results.json").unlink()
    assert "is not finished (no results.json)" in refusal(
        feature_importance.main, f"--workdir={tmp_path / 'replica_1'}"
    )


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
    assert message in refusal(feature_importance.main, f"--workdir={finished}", *QUICK, argument)
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
    assert "unknown segment 'agee'" in refusal(
        feature_importance.main, f"--workdir={workdir}", *QUICK, "--segment=agee"
    )
    assert "unknown split 'valid'" in refusal(
        feature_importance.main, f"--workdir={workdir}", *QUICK, "--split=valid"
    )
    assert "nothing to measure" in refusal(
        feature_importance.main, f"--workdir={workdir}", *QUICK, "--rows=1"
    )
    assert contents() == before
    with monkeypatch.context() as patch:  # before the state is read
        patch.setattr(explain, "best_state", None)
        refusal(feature_importance.main, f"--workdir={workdir}", *QUICK, "--segment=agee")

    def stopped(run, state, settings, history, folder, bar):
        (folder / "gates.png").write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(explain, "explain", stopped)
    with pytest.raises(KeyboardInterrupt):
        feature_importance.main([f"--workdir={workdir}", *QUICK])
    assert contents() == before


def test_a_damaged_best_state_is_neither_explained_nor_exported(finished, tmp_path):
    workdir = shutil.copytree(finished, tmp_path / "run")
    for folder in (workdir / "checkpoints").glob("*/*"):
        flip(large_file(folder), 4321)
    assert "has changed since it was saved" in refusal(
        feature_importance.main, f"--workdir={workdir}", *QUICK
    )
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
    assert told in refusal(feature_importance.main, workdir)


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
