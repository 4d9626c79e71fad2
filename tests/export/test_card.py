"""The card of a model: what it says, and whose names it escapes."""

import json

import numpy as np
import polars as pl
import pytest
import yaml

from configs.logs import get_config
from dtn_jax.comparison.rank_search import find
from dtn_jax.data.prepare import prepare
from dtn_jax.errors import UserError
from dtn_jax.export import load
from dtn_jax.export.write import export_run
from dtn_jax.report.markdown import escaped
from dtn_jax.run.train import train

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
def exported(tmp_path_factory):
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
    for told in (
        "# shared_bottom on shop",
        "- click: ",
        "| position | categorical | position | 6 | scored as 1 |",
        "scored as the unknown id",
        "| order | binary | probability | click | all |",
        "| watch | regression | the label's mean | all |",
        "GAUC is the AUC within each user",
        "as if position were 1",
        "only if the task happens nowhere outside of that space",
    ):
        assert told in text, told
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
        value = measured["test"][line["of"]][line["metric"]]
        assert value == pytest.approx(line["found"], abs=1e-5)
    assert {"click", "order", "watch", "click + 5*order"} == set(measured["test"])
    assert "rank" not in load(model).outputs
    for option, message in {
        "log(click - 2)": r"not finite in 400 of 400 rows of validation: bound what it reads",
        "clik": "Did you mean 'click'",
    }.items():
        with pytest.raises(UserError, match=message):
            export_run([folder / "run"], folder / "no", rank=option, say=lambda told: None)
