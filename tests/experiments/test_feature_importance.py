"""experiments.feature_importance on a finished run: what it measures and leaves."""

import copy
import csv
import functools
import io
import json
import shutil

import matplotlib.image
import numpy as np
import pytest
import rich.console
import watched_runs
from watched_runs import config, logged

from dtn_jax.analysis import (
    bayes,
    explain,
    inside,
    markdown,
    rank,
    tables,
    watch,
)
from dtn_jax.analysis.explain import Settings
from dtn_jax.analysis.importance import Importance
from dtn_jax.analysis.pairs import Pairs
from dtn_jax.datasets.synthetic import funnel, known_answer
from dtn_jax.run import build_run
from dtn_jax.train import train
from experiments import feature_importance, importance_page

pytest_plugins = ["finished_runs"]

in_the_repository = watched_runs.in_the_repository
finished = watched_runs.finished
explained = watched_runs.explained


@pytest.mark.slow
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


def test_the_known_answer_is_that_of_the_sets_own_law(tmp_path, prepared_dir, monkeypatch):
    monkeypatch.setattr(known_answer, "truth", functools.partial(known_answer.truth, sample=1_000))
    options = "rows=2000,divergence=0,interactions=0.8"
    run = build_run(config(prepared_dir, data__dataset="synthetic", data__options=options))
    sample = explain.read_sample(run.data, "train", 10**6, 0)
    measured, _ = explain.keys(run.schema, sample.rows, weighted=False)
    settings, bar = Settings(repeats=1), lambda *_: lambda: None
    truth = explain.known_importance(run, sample, measured, settings, bar)
    shares = known_answer.importance(funnel.FunnelSpec(divergence=0, interactions=0.8))
    for share in shares.values():  # click's fields are all that matter, to every task
        np.testing.assert_array_equal((truth.mean != 0).all(axis=1), share > 0)
    known = {task: set(inside.known_pairs(run, task)["own"]) for task in funnel.TASKS}
    assert known["cart"] == known["order"] == known["click"]


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
    assert "| 0.123 | 0.900, 0.900 |" in importance_page.summary({"synthetic": [found]})
