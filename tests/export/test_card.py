"""The card of a model: what it says, whose names it escapes, and what a fixed field changes."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from configs.logs import get_config
from dtn_jax.comparison.rank_search import find
from dtn_jax.data.prepare import prepare
from dtn_jax.errors import UserError
from dtn_jax.export import load
from dtn_jax.export.write import export_run
from dtn_jax.export.write.encoders import read_fixed
from dtn_jax.report.markdown import escaped
from dtn_jax.run import outcome
from dtn_jax.run.train import train
from dtn_jax.schema import Field, Schema, Task

HOSTILE = "<script>x</script>|`![a](http://b.c)"
SCHEMA = f"""
name: shop
fields:
  {json.dumps(HOSTILE)}: {{column: item}}
  position: {{scored_as: 1}}
  page: {{scored_as: null, optional: true}}
  price: {{kind: numeric, encoder: standardise}}
tasks:
  click:
  order: {{space: click, also_report: [all]}}
  watch: {{kind: regression, known: click == 1}}
group: user
time: t
"""
ROWS = 4000


def log():
    """Clicks depend on the item and, much, on the position."""
    rng = np.random.default_rng(0)
    item, position = rng.integers(0, 20, ROWS), rng.integers(1, 6, ROWS)
    click = rng.random(ROWS) < 1 / (1 + np.exp(0.1 * item - 1.5 + 0.5 * position))
    day = np.datetime64("2026-03-01") + np.arange(ROWS) * 10 // ROWS
    columns = {"user": rng.integers(0, 300, ROWS), "item": item, "position": position, "t": day}
    columns |= {"price": rng.normal(size=ROWS), "click": click.astype(int)}
    columns |= {"order": (click & (rng.random(ROWS) < 0.5)).astype(int), "watch": rng.random(ROWS)}
    return pl.DataFrame(columns)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, drawn):
    folder = tmp_path_factory.mktemp("card")
    (folder / "shop.yaml").write_text(SCHEMA)
    log().write_parquet(folder / "log.parquet")
    prepare(folder / "shop.yaml", str(folder / "log.parquet"), folder / "data", processes=1)
    config = get_config(f"shared_bottom,schema={folder / 'shop.yaml'}")
    config.data.data_dir, config.data.batch_size = str(folder / "data"), 200
    config.model.experts, config.model.embedding_dim = "mlp", 4
    config.model.mlp.hidden = config.model.tower_hidden = (8,)
    config.optim.learning_rate = config.optim.table_learning_rate = 0.02
    config.train.max_steps, config.parallel.devices, config.seed = 60, 1, 1
    train(config, folder / "run")
    return folder, export_run([folder / "run"], folder / "model", say=lambda told: None)


@pytest.mark.slow
def test_a_card_tells_all_that_a_user_must_know(exported):
    folder, model = exported
    text = (model / "README.md").read_text()
    results = json.loads((folder / "run/results.json").read_text())["test"]
    found = json.loads((model / "card/measured.json").read_text())
    for key, metrics in results.items():  # the exported program's scores are the run's
        own = found["uncalibrated"]["test"][key]
        for name in ("auc", "gauc", "logloss", "rmse"):
            assert own.get(name) == pytest.approx(metrics.get(name), abs=1e-5)
        low, high = found["test_intervals"][key]["auc" if "auc" in own else "rmse"]
        assert low < found["calibrated"]["test"][key]["auc" if "auc" in own else "rmse"] < high
    for told in (
        "# shared_bottom on shop",
        "| days of the log | 2026-03-01 to 2026-03-10 |",
        "| split by time | validation from 2026-03-09, test from 2026-03-10 |",
        "A served model has one value for position, page, and other scores",
        "- click: ",
        "scored as '1'",
        "scored as the unknown id; optional",
        "| order | binary | probability | rows with click | all rows | none |",
        "| watch | regression | the label's mean | all rows | none | none |",
        "GAUC is the AUC within each user",
        "No task is calibrated: the scores above are the model's own.",
        "![Calibration on test](card/calibration.png)",
        "as if position were '1'",
        "p(order | click) = p(order) / p(click) is wrong. In the log 0 of ",
    ):
        assert told in text, told
    assert " → " not in text.partition("## Calibration")[2].partition("\n## ")[0]
    head, _, _ = text.removeprefix("---\n").partition("\n---\n")
    head = yaml.safe_load(head)
    assert head["library_name"] == "dtn_jax"
    assert head["license"] == "unknown"
    assert {"jax", "ranking", "shared_bottom"} <= set(head["tags"])
    (index,) = head["model-index"]
    kinds = [(own["task"]["name"], own["task"]["type"]) for own in index["results"]]
    names = ("click@all", "order@click", "order@all")
    regression = ("watch@all", "tabular-regression")
    assert kinds == [*((name, "tabular-classification") for name in names), regression]
    for own in index["results"]:
        assert own["dataset"] == {"type": "shop", "name": "shop", "split": "test"}
        measured = found["calibrated"]["test"][own["task"]["name"]]
        for metric in own["metrics"]:
            assert metric["value"] == pytest.approx(measured[metric["type"]], abs=1e-6)
    assert (model / "card/calibration.png").stat().st_size > 10_000
    assert "<script>" not in text
    assert escaped(HOSTILE).replace("|", r"\|") in text
    assert "![a](" not in text
    files = set(load(model).manifest["files"])
    assert not {"README.md", "card/measured.json"} & files  # a card may be edited


@pytest.mark.slow
def test_a_ranking_score_is_found_exported_and_measured(exported):
    """The card's metrics are those that `rank` told of test, since both calibrate alike."""
    folder, model = exported
    told = find(folder / "run", "click + 5*order", "ndcg_at_10")
    option = str(folder / "run/rank.json")
    ranked = export_run([folder / "run"], folder / "ranked", rank=option, say=lambda told: None)
    text = (ranked / "README.md").read_text()
    assert "## Ranking score on test, as logged" in text
    assert escaped(told["expression"]).replace("|", r"\|") in text
    measured = json.loads((ranked / "card/measured.json").read_text())["rank"]
    assert measured["expression"] == told["expression"] == load(ranked).ranking.text
    for line in told["test"]:
        value, *ends = measured["test"][line["of"]][line["metric"]]
        assert value == pytest.approx(line["found"], abs=1e-5)
        assert not ends or ends[0] <= value <= ends[1]
    assert {"click", "order", "watch", "click + 5*order"} == set(measured["test"])
    assert "rank" not in load(model).outputs
    for option, message in {
        "log(click - 2)": r"not finite in 400 of 400 rows of validation, as where click@all is 0\.",
        "clik": "Did you mean 'click'",
    }.items():
        with pytest.raises(UserError, match=message):
            export_run([folder / "run"], folder / "no", rank=option, say=lambda told: None)


@pytest.mark.slow
def test_metrics_with_the_fixed_value_are_those_of_rows_that_have_it(exported):
    """A served model's scores of the test rows, whatever position they name."""
    _, model = exported
    found = json.loads((model / "card/measured.json").read_text())
    frame = log().filter(pl.col("t") == pl.col("t").max()).drop("position")
    given = frame.rename({"item": HOSTILE}) if HOSTILE in load(model).columns else frame
    scored = load(model).score(given)
    auc = roc_auc_score(frame["click"], scored["click@all"])
    fixed, logged = (found[k] for k in ("test_with_fixed_values", "calibrated"))
    assert fixed["click@all"]["auc"] == pytest.approx(auc, abs=1e-6)
    mean = scored["click@all"].mean()
    assert fixed["click@all"]["mean_prediction"] == pytest.approx(mean, rel=1e-5)
    assert mean > 1.2 * logged["test"]["click@all"]["mean_prediction"]  # all stand first
    assert logged["test"]["click@all"]["auc"] > auc + 0.02  # position told much


@pytest.mark.slow
def test_a_fixed_value_that_train_has_not_shown_is_told(exported):
    (folder, model), told = exported, []
    with pytest.raises(UserError, match="field 'price' cannot be fixed to 'dear'"):
        export_run([folder / "run"], folder / "other", fix="price=dear", say=told.append)
    assert told == []  # it is refused at once
    assert not (folder / "other").exists()
    assert "has not shown this value" not in (model / "README.md").read_text()
    far = {"fix": "position=77", "tasks": ("order",), "calibrate": "platt"}
    export_run([folder / "run"], folder / "far", **far, say=told.append)
    expected = "train has not shown this value (often enough): the unknown id stands for it"
    expected += "; no value of train was the unknown id, so the model has not learnt it"
    assert told[0] == f"Note on position='77': {expected}"
    text = (folder / "far/README.md").read_text()
    assert f"scored as '77'; {expected}" in text
    assert f"Mind: {expected}." in text
    assert "order@click" in text
    assert "click@all" not in text  # computed, as orders are of clicks, and not given
    assert "It was fitted and chosen on validation alone:" in text
    assert "![Calibration on test, before and after](card/calibration.png)" in text
    assert "- click (computed, not given): platt, as --calibration=platt says." in text
    assert "  order: platt, as --calibration=platt says." in told


@pytest.mark.slow
def test_a_run_that_has_not_read_test_is_told(exported):
    (folder, _), told = exported, []
    trial = shutil.copytree(folder / "run", folder / "trial")
    outcome.write(trial, {k: v for k, v in outcome.read(trial).items() if "test" not in k})
    for run in ("run", "trial"):
        export_run([folder / run], folder / f"of_{run}", say=told.append)
    (note,) = [line for line in told if "has not read test" in line]
    assert note.startswith(f"note: {trial} has not read test, as a trial of a sweep has not.")


def test_fixed_values_are_read_and_refused():
    schema = Schema("s", (Field("f"), Field("tags", kind="bag", rows=3, slots=2)), (Task("click"),))
    assert read_fixed("f=null", schema) == {"f": None}
    assert read_fixed("f=7", schema) == {"f": "7"}
    for text, message in {
        "g=1": "unknown field 'g'",
        "tags=1": "field 'tags' is a bag, which no one value fixes",
        "f": "expected FIELD=VALUE",
    }.items():
        with pytest.raises(UserError, match=message):
            read_fixed(text, schema)
