"""A log whose negatives were sampled before it came here, and weigh 1 / rate: from `prepare` to the
exported model all is of the whole population. `loss_weight` counts in the loss alone."""

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from configs.logs import get_config
from dtn_jax.analysis.quality import keys
from dtn_jax.datasets.description.describe import describe
from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.evaluate import read_predictions
from dtn_jax.export import load
from dtn_jax.export.write import export_run
from dtn_jax.gradients import make_weights
from dtn_jax.input.reader import SplitReader
from dtn_jax.losses.by_task import task_losses
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.report.description.sections import rows as told_of_rows
from dtn_jax.run import build_run, measure, score_split
from dtn_jax.train import train
from experiments.tables import cells
from experiments.tables.draws import unpacked

ROWS, ITEMS = 60_000, 12
CLICK = np.linspace(0.02, 0.1, ITEMS)  # p(click | item)
KEPT = np.where(np.arange(ITEMS) % 2, 20, 5)  # of an item one in so many negatives is in the log
SCHEMA = """
name: kept
fields: {item: }
tasks: {click: }
split: {by: random, validation: 0.25, test: 0.25}
weight: w
"""


def population():
    rng = np.random.default_rng(1)
    item = rng.integers(0, ITEMS, ROWS)
    click = (rng.random(ROWS) < CLICK[item]).astype(int)
    stay = (click == 1) | (rng.random(ROWS) < 1 / KEPT[item])
    weight = np.where(click == 1, 1, KEPT[item])
    return pl.DataFrame({"item": item, "click": click, "stay": stay, "w": weight})


def prepared(folder, schema=SCHEMA):
    whole = population()
    log = whole.filter("stay").with_columns(likes_clicks=1 + 2 * pl.col("click"))
    (folder / "kept.yaml").write_text(schema)
    data = prepare(folder / "kept.yaml", log, folder / "data", processes=1)
    return whole, data


def config_of(folder, **changes):
    config = get_config(f"shared_bottom,schema={folder / 'kept.yaml'}")
    small = {
        "data.data_dir": str(folder / "data"),
        "data.batch_size": 512,
        "model.experts": "mlp",
        "model.embedding_dim": 4,
        "model.mlp.hidden": (8,),
        "model.tower_hidden": (),
        "optim.learning_rate": 0.01,
        "optim.table_learning_rate": 0.05,
        "optim.schedule": "linear",
        "train.patience": 0,
        "train.epochs": 30,
        "parallel.devices": 1,
    }
    config.update_from_flattened_dict(small | changes)
    return config


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """The folder, the whole population, the prepared set and a run's results."""
    folder = tmp_path_factory.mktemp("kept")
    whole, data = prepared(folder)
    return folder, whole, data, train(config_of(folder), folder / "run")


def test_metrics_are_of_the_whole_population(story):
    folder, whole, data, results = story
    rate = whole["click"].mean()
    for split in ("validation", "test"):
        own = results[split]["click@all"]
        assert own["base_rate"] == pytest.approx(rate, rel=0.1)
        assert own["mean_prediction"] == pytest.approx(rate, rel=0.1)
    kept = read_predictions(folder / "run/predictions.parquet", data.schema)
    own, w = results["test"]["click@all"], kept.sample_weight
    assert own["base_rate"] == pytest.approx(np.average(kept.labels[:, 0], weights=w), rel=1e-6)
    expected = roc_auc_score(kept.labels[:, 0], kept.logits[:, 0], sample_weight=w)
    assert own["auc"] == pytest.approx(expected, abs=1e-9)
    assert abs(roc_auc_score(kept.labels[:, 0], kept.logits[:, 0]) - expected) > 0.01


def test_a_table_tests_by_weight(story):
    """The draws of the examples of its cells lie around the weighted AUC."""
    folder, _, data, results = story
    config = build_run(config_of(folder)).config
    cell = cells.found(config, data, folder / "run", results)
    drawn = unpacked(cell, "click@all")
    assert drawn.mean() == pytest.approx(results["test"]["click@all"]["auc"], abs=0.002)


@pytest.mark.parametrize("way", ["auto", "platt"])
def test_the_exported_model_scores_the_whole_population(story, tmp_path, way):
    folder, whole, _, _ = story
    model = load(export_run([folder / "run"], tmp_path / "model", calibrate=way))
    scores = model.score(whole.select("item"))["click@all"].to_numpy()
    assert scores.mean() == pytest.approx(whole["click"].mean(), rel=0.1)
    assert model.meanings == {"click@all": "probability"}
    text = (tmp_path / "model/card.md").read_text()
    assert "these are scores of the weighted population" in text
    assert "| weights of rows | w, in the loss, metrics, calibration |" in text


def test_importance_and_description_count_by_weight(story):
    folder, whole, data, _ = story
    run = build_run(config_of(folder))
    rows = SplitReader(data, "validation").everything()
    (key,), _ = keys(run.schema, rows, run.config.evaluate.sample_weights)
    np.testing.assert_array_equal(key.weights, rows.sample_weight)
    found = describe(data)
    for rate in found.rates:
        assert rate.weighted == pytest.approx(whole["click"].mean(), rel=0.1)
        assert rate.rate > 5 * rate.weighted
    ((_, weight, clicks),) = data.notes["days"]["sums"]["click@all"]
    assert clicks / weight == pytest.approx(whole["click"].mean(), rel=0.1)
    assert any("Rows count by their weights" in text for text in told_of_rows(found).texts)


def test_the_switches_turn_weights_off(story):
    folder, whole, _, _ = story
    off = build_run(config_of(folder, **{"evaluate.sample_weights": False}))
    scores = score_split(off, off.new_state(), "validation")
    found = measure(off, scores)["click@all"]
    assert found["base_rate"] == pytest.approx(scores.labels.mean(), rel=1e-6)
    assert found["base_rate"] > 5 * whole["click"].mean()


def test_loss_weight_counts_in_the_loss_alone(tmp_path):
    """Positives count three times in the loss, so that its own mean prediction is too high."""
    schema = SCHEMA + "loss_weight: likes_clicks\n"
    whole, data = prepared(tmp_path, schema)
    assert data.schema.loss_weight == "likes_clicks"
    runs = {
        name: build_run(config_of(tmp_path, **{"loss.sample_weights": on}))
        for name, on in (("weighted", True), ("plain", False))
    }
    state = runs["plain"].new_state()
    batch = jax.tree.map(jnp.asarray, SplitReader(data, "train").between(0, 500))
    np.testing.assert_array_equal(batch.loss_weight, 1 + 2 * batch.labels[:, 0])
    z, y = np.random.default_rng(0).normal(size=500), batch.labels[:, 0]
    costs = np.logaddexp(0, np.where(y == 1, -z, z))
    for name, w in (("weighted", batch.sample_weight * batch.loss_weight), ("plain", 1)):
        run = runs[name]
        weights = make_weights(run.config, run.plan, batch).tasks
        found = task_losses({"click": jnp.asarray(z)}, batch.labels, weights, run.losses)
        assert found[0] == pytest.approx(np.average(costs, weights=w * np.ones(500)), rel=1e-5)
    scores = score_split(runs["weighted"], state, "validation")
    for run in runs.values():  # metrics know `weight` alone
        found = measure(run, scores)["click@all"]
        expected = np.average(scores.labels[:, 0], weights=scores.sample_weight)
        assert found["base_rate"] == pytest.approx(expected, rel=1e-6)
        p = sigmoid(scores.logits[:, 0])
        expected = np.average(p, weights=scores.sample_weight)
        assert found["mean_prediction"] == pytest.approx(expected, rel=1e-5)
    results = train(config_of(tmp_path), tmp_path / "run")["test"]["click@all"]
    rate = whole["click"].mean()
    assert results["base_rate"] == pytest.approx(rate, rel=0.1)
    assert results["mean_prediction"] == pytest.approx(3 * rate / (1 + 2 * rate), rel=0.1)


def test_a_set_without_weights_needs_no_switch(tmp_path):
    prepared(tmp_path, SCHEMA.replace("weight: w\n", ""))
    run = build_run(config_of(tmp_path))
    assert not run.config.loss.sample_weights
    assert not run.config.evaluate.sample_weights
