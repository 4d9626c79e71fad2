"""experiments.feature_importance on a finished run, the report of what is kept, and bad input."""

import copy
import csv
import functools
import io
import json
import pathlib
import shlex
import shutil
import sys

import matplotlib.image
import numpy as np
import pytest
import rich.console
from small_runs import small

from configs import base
from dtn_jax.analysis import (
    bayes,
    explain,
    figures,
    gate_figures,
    inside,
    markdown,
    rank,
    tables,
    training_figures,
    watch,
    written,
)
from dtn_jax.analysis.explain import Settings
from dtn_jax.analysis.importance import Importance
from dtn_jax.analysis.pairs import Pairs
from dtn_jax.config import identity
from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.datasets.synthetic import funnel, known_answer
from dtn_jax.errors import UserError
from dtn_jax.run import build_run
from dtn_jax.train import train
from experiments import command, feature_importance, importance_report

ROOT = pathlib.Path(__file__).parents[2]
QUICK = ("--rows=1000", "--repeats=2")


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def config(prepared_dir, **changes):
    given = {"train__max_steps": 4, "train__eval_every": 2, "model__normalisation": "none"}
    given |= {"model__architecture": "mmoe", "model__experts": "gdcn*2", "model__dropout": 0.0}
    return small(prepared_dir, **given, **changes)


@pytest.fixture(scope="module")
def finished(prepared_dir, tmp_path_factory):
    """The folder of a finished, watched run; no test may change it."""
    workdir = tmp_path_factory.mktemp("finished") / "adult_mmoe"
    results = train(config(prepared_dir, analysis__rows=100), workdir, test=False)
    return workdir, results


@pytest.fixture(scope="module")
def explained(finished, tmp_path_factory):
    """A copy of it, with what the command left, and what that printed."""
    workdir = tmp_path_factory.mktemp("explained") / "adult_mmoe"
    shutil.copytree(finished[0], workdir)
    opened, source = [], Prepared.source
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)

        def note(self, split):
            opened.append(split)
            return source(self, split)

        patch.setattr(Prepared, "source", note)
        feature_importance.main([f"--workdir={workdir}", "--repeats=2", "--rows=10000"])
    return workdir, json.loads((workdir / "importance/importance.json").read_text()), opened


def logged(workdir, kind):
    lines = (pathlib.Path(workdir) / "metrics.jsonl").read_text().splitlines()
    records = [r for r in map(json.loads, lines) if r["kind"] == kind]
    return [{k: v for k, v in r.items() if k != "examples_per_second"} for r in records]


# ---------------------------------------------------------------- a run


def test_a_run_watched_is_the_same_run(finished, prepared_dir, tmp_path):
    train(config(prepared_dir), tmp_path / "run", test=False)
    assert logged(tmp_path / "run", watch.KIND) == []
    for kind in ("train", "validation"):
        assert logged(tmp_path / "run", kind) == logged(finished[0], kind) != []
    records = logged(finished[0], watch.KIND)
    assert [r["step"] for r in records] == [2, 4]
    found = watch.over_training(records)
    own = [found["gate"]["income", f"shared/gdcn_{m}"] for m in (0, 1)]
    assert [a[1] + b[1] for a, b in zip(*own)] == pytest.approx([1, 1], rel=1e-5)
    assert list(found["cosine"]) == [("income", "never_married")]


def test_what_the_command_leaves(explained, finished):
    workdir, found, opened = explained
    assert set(opened) == {"validation"}
    assert found["rows"] == 3_256
    assert found["step"] == finished[1]["best_steps"]["mean"]
    assert set(found["methods"]) == {"permutation", "gradient", "unknown"}
    for key in ("income@all", "never_married@all"):
        auc = finished[1]["validation"][key]["auc"]
        assert found["methods"]["permutation"]["base"][key] == pytest.approx(auc, abs=1e-5)
        assert len(found["methods"]["permutation"]["importance"][key]) == 12
        assert found["methods"]["permutation"]["importance"][key]["age"]["spread"] > 0
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
        "over_training.png", "pairs.png",
    }  # fmt: skip
    for picture in folder.glob("*.png"):
        pixels = matplotlib.image.imread(picture)
        assert min(pixels.shape[:2]) > 200
        assert len(np.unique(pixels[::5, ::5, 0])) > 5
    with (folder / "importance.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 3 * 2 * 12
    by_json = found["methods"]["unknown"]["importance"]["income@all"]["race"]
    row = next(r for r in table if (r["method"], r["field"]) == ("unknown", "race"))
    assert float(row["importance"]) == by_json["mean"]
    assert float(row["high"]) == pytest.approx(by_json["mean"] + 1.96 * by_json["error"], rel=1e-4)
    text = (folder / "importance.md").read_text()
    assert "| `relationship` |" in text
    assert "(importance_permutation.png)" in text


def test_every_method_that_was_asked_for_has_its_table_and_its_picture(explained):
    """Permutation first, whatever order they were asked for in."""
    found = explained[1]
    given = {name: f"{name}.png" for name in markdown.PICTURES}
    methods = ("unknown", "gradient", "permutation")
    text = markdown.section(found | {"methods": {m: found["methods"][m] for m in methods}}, given)
    places = [text.index(f"By {m}, the ") for m in ("permutation", "gradient", "unknown")]
    places += [text.index(f"(importance_{m}.png)") for m in ("permutation", "gradient", "unknown")]
    assert places == sorted(places)
    one = markdown.section(
        found | {"methods": {"gradient": found["methods"]["gradient"]}},
        {"importance_gradient": "importance_gradient.png"},
    )
    assert "By gradient, the 8 most important of 12 fields: mean change of the logit" in one
    assert one.count("| `") >= 8
    assert "(importance_gradient.png)" in one
    assert "By permutation" not in one
    assert "rows: income@all 0." in one  # the AUC


def test_the_command_passes_on_what_it_is_asked(explained, tmp_path, monkeypatch, capsys):
    workdir, found, _ = explained
    shutil.copytree(workdir, tmp_path / "run")
    asked = []

    def noted(run, state, settings, history, folder, bar):
        asked.append(settings)
        assert history[-1]["step"] == 4
        own = {k: v for k, v in found.items() if k not in ("arguments", "date", "versions")}
        return own | {"split": settings.split}

    monkeypatch.setattr(feature_importance, "explain", noted)
    given = ["--split=test", "--methods=gradient", "--repeats=2", "--rows=9", "--segment=gender"]
    feature_importance.main([f"--workdir={tmp_path / 'run'}", *given])
    assert asked == [Settings("test", ("gradient",), 2, 9, "gender", 0)]
    stored = json.loads((tmp_path / "run/importance/importance.json").read_text())
    assert (stored["split"], stored["arguments"]) == ("test", given)
    assert not list((tmp_path / "run/importance").glob("*.png"))  # another call's
    shown = capsys.readouterr().out
    assert "mean change of the logit" in shown
    assert f"are in {tmp_path / 'run/importance'}" in shown


def test_synthetic_data_stand_beside_the_known_answer(tmp_path, prepared_dir, monkeypatch):
    """What is compared, not how well a model does."""
    monkeypatch.setattr(known_answer, "truth", functools.partial(known_answer.truth, sample=1_000))
    c = config(prepared_dir, data__dataset="synthetic", data__options="rows=5000")
    run = build_run(c)
    sample = explain.read_sample(run.data, "validation", 10**6, 0)
    spec = funnel.FunnelSpec(rows=5000)
    np.testing.assert_array_equal(sample.rows.ids, funnel.rows(spec, 4000, 500)[0])
    measured, _ = explain.keys(run.schema, sample.rows, weighted=False)
    shares = np.stack(
        [known_answer.importance(spec)[key.name.split("@")[0]] for key in measured], axis=1
    )
    names = tuple(key.name for key in measured)
    cov = np.eye(shares.size)
    found = {
        "unknown": Importance(
            "unknown", funnel.FIELDS, names, shares[0], shares[None], cov, ("AUC",) * len(names)
        )
    }
    settings, bar = Settings(repeats=1), lambda *_: lambda: None
    truth = explain.known_importance(run, sample, measured, settings, bar)
    facts = explain.truth_facts(truth, rank.divergence(truth), found)
    importance = facts["importance"]["click@all"]
    assert importance["f206"]["mean"] > 0.01
    assert importance["f122"]["mean"] == 0
    same = bayes.bayes_importance(spec, sample.rows.ids, measured, 1, settings.seed)
    assert importance["f206"]["mean"] != same.mean[funnel.FIELDS.index("f206"), 0]  # the model's
    assert facts["agreement"]["unknown"]["click@all"]["rank_correlation"] > 0.7
    c.data.dataset, c.data.options = "adult", ""
    assert explain.known_importance(build_run(c), sample, measured, settings, bar) is None
    known = {group: inside.known_pairs(run, group) for group in (*funnel.TASKS, "shared")}
    counts = {g: (len(pairs["own"]), len(pairs["all"])) for g, pairs in known.items()}
    assert counts == {"click": (3, 3), "cart": (3, 6), "order": (3, 9), "shared": (9, 9)}
    strengths = np.zeros((23, 23))
    strengths[0, 1] = strengths[1, 0] = 2
    pairs = Pairs({"norm": strengths, "term": strengths}, np.full(23, 0.5))
    judged = inside.expert_facts(pairs, funnel.FIELDS, known["cart"])
    assert judged["norm"]["strongest"][0] == ["f101", "f109_14", 2.0]
    assert (judged["term"]["own"]["known"], judged["term"]["all"]["known"]) == (3, 6)
    assert inside.group_of("level_0_cart/gdcn_0") == "cart"
    assert inside.known_pairs(build_run(c), "income") == {}


def test_the_divergence_of_the_known_answer_stands_beside_each_method(explained):
    """In the Markdown, the terminal and the report's summary."""
    found = copy.deepcopy(explained[1])
    assert "Bayes" not in "".join(markdown.divergence(found))
    facts = copy.deepcopy(found["methods"]["permutation"]["divergence"])
    facts["value"][0][1], facts["low"][0][1], facts["high"][0][1] = 0.123, 0.1, 0.2
    importance = found["methods"]["permutation"]["importance"]
    agreement = {key: {"rank_correlation": 0.9, "fields": 4} for key in importance}
    found["truth"] = {"divergence": facts, "agreement": {"permutation": agreement}}
    text = "".join(markdown.divergence(found))
    assert "of the Bayes-optimal score | noise |" in text
    assert "| 0.123 (0.100 to 0.200) |" in text
    assert "By gradient the divergence is another quantity" in text
    without = {"methods": {"permutation": found["methods"]["permutation"]}}
    assert "another quantity" not in "".join(markdown.divergence(found | without))
    console = rich.console.Console(width=100, file=io.StringIO())
    for table in tables.tables(found):
        console.print(table)
    assert "0.123" in console.file.getvalue()
    assert "| 0.123 | 0.900, 0.900 |" in importance_report.summary({"synthetic": found})


# ---------------------------------------------------------------- bad input


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


# ---------------------------------------------------------------- what is kept


def test_the_report_is_written_from_what_is_kept(explained, tmp_path, monkeypatch):
    monkeypatch.setattr(importance_report, "KEPT", tmp_path)
    with pytest.raises(UserError, match="holds no JSON"):
        importance_report.main([])
    with pytest.raises(UserError, match=r"run experiments.feature_importance first"):
        importance_report.main([f"--workdirs={explained[0]},{tmp_path}"])
    assert not list(tmp_path.iterdir())
    importance_report.main([f"--workdirs={explained[0]}"])
    names = {p.name for p in tmp_path.iterdir()}
    heat_maps = {f"adult_importance_{m}.png" for m in ("permutation", "gradient", "unknown")}
    assert names >= {"adult.json", "README.md", *heat_maps}
    text = (tmp_path / "README.md").read_text()
    assert "## adult" in text
    assert all(f"({name})" in text for name in (*heat_maps, "adult_gates.png"))
    assert "python -m experiments.feature_importance --workdir=runs/adult_mmoe" in text
    importance_report.main(["--check"])
    found = json.loads((tmp_path / "adult.json").read_text())
    assert found["gates"] == explained[1]["gates"]
    (tmp_path / "README.md").write_text(text + "by hand")
    with pytest.raises(UserError, match=r"is not what python -m experiments.importance_report"):
        importance_report.main(["--check"])


def test_two_runs_of_one_data_set_are_refused(explained, tmp_path, monkeypatch):
    """And nothing is kept; one that is kept already is replaced."""
    monkeypatch.setattr(importance_report, "KEPT", tmp_path / "kept")
    one, other = explained[0], tmp_path / "other"
    shutil.copytree(one, other)
    with pytest.raises(UserError, match=r"are both runs of 'adult': expected one run a data set"):
        importance_report.main([f"--workdirs={one},{other}"])
    assert not (tmp_path / "kept").exists()
    importance_report.main([f"--workdirs={one},{one}"])
    importance_report.main([f"--workdirs={other}"])


def test_the_committed_report_is_what_is_written_from_the_committed_json():
    importance_report.main(["--check"])


def test_the_command_that_trained_a_run_trains_it_again(finished):
    facts = json.loads((finished[0] / "config.json").read_text())
    words = shlex.split(importance_report.training_command(facts))
    assert words[:3] == ["python", "-m", "experiments.train"]
    assert words[4] == "--workdir=runs/adult_mmoe"
    again = command.read_config(words[3].removeprefix("--config="), words[5:])
    assert identity(again) == identity(facts["config"])
    assert again.analysis.rows == 100


# ---------------------------------------------------------------- pictures


def test_pictures_of_odd_sizes(tmp_path):
    use = {"click": {f"shared/mlp_{m}": 1 / 6 for m in range(6)}}
    gate_figures.gates(use, {}, {}, "", ("click",), tmp_path / "gates.png")
    lines = {"gate": {}, "cosine": {("a", "b"): [[1, None], [2, 0.5]], ("a", "c"): [[1, None]]}}
    lines["cosine_half"] = {("a", "b"): [[1, None], [2, None]]}
    training_figures.over_training(lines, ("a", "b", "c"), tmp_path / "lines.png")
    for name in ("gates", "lines"):
        assert min(matplotlib.image.imread(tmp_path / f"{name}.png").shape[:2]) > 100


def test_numbers_have_three_digits():
    values = (123.4, 99.51, 12.34, 9.949, 0.123, 0.0051, -0.004, -3.0, 0)
    assert [figures.number(v) for v in values] == [
        "123", "100", "12.3", "9.95", "0.12", "0.01", "0.00", "-3.00", "0.00"
    ]  # fmt: skip


def test_what_is_not_finite_is_null_in_json():
    found = written.plain({"a": np.float32(0.1), "b": [np.nan, 1, True], ("c",): np.arange(2)})
    assert found == {"a": 0.1, "b": [None, 1, True], "('c',)": [0, 1]}
