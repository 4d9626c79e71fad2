"""Rates that are known, from a log to the exported model: what is predicted is what happens.

Negatives that were sampled before the log came here weigh 1 / rate: metrics, calibration and scores
are of the whole population. Positive weights and sampling by us move no probability. A focal loss
gives scores, not probabilities, until a calibration makes probabilities of them. Nothing leaks from
test into train, nor from a row into its histories: random labels cannot be learned.
"""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score
from world import log
from world.run import of_log

from configs.logs import get_config
from dtn_jax.errors import UserError
from dtn_jax.export import load
from dtn_jax.export.write import export_run
from dtn_jax.losses import read_losses
from dtn_jax.losses.notes import improper
from dtn_jax.metrics.scores import read_predictions
from dtn_jax.run.train import train
from dtn_jax.schema import Field, Schema, Task


def trained_to_the_end(folder, **changes):
    """The results of a small model's run."""
    usual = {
        "data__batch_size": 512,
        "model__tower_hidden": (),
        "optim__learning_rate": 0.01,
        "optim__table_learning_rate": 0.05,
        "train__epochs": 20,
        "train__patience": 0,
        "train__eval_every": 1000,  # at the end: a validation takes longer than an epoch
    }
    return train(of_log(folder, **usual | changes), folder / "run")


# ---------------------------------------------------------------- a log of sampled negatives


ALL, ITEMS = 60_000, 12
RATES = np.linspace(0.02, 0.1, ITEMS)  # p(click | item)
KEPT_OF = np.where(np.arange(ITEMS) % 2, 20, 5)  # of an item one in so many negatives is in the log
KEPT_SCHEMA = """
name: kept
fields: {item: }
tasks: {click: }
split: {by: random, validation: 0.25, test: 0.25}
weight: w
"""


def population():
    rng = np.random.default_rng(1)
    item = rng.integers(0, ITEMS, ALL)
    click = (rng.random(ALL) < RATES[item]).astype(int)
    stay = (click == 1) | (rng.random(ALL) < 1 / KEPT_OF[item])
    weight = np.where(click == 1, 1, KEPT_OF[item])
    return pl.DataFrame({"item": item, "click": click, "stay": stay, "w": weight})


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """The folder, the whole population, the prepared set and a run's results."""
    folder, whole = tmp_path_factory.mktemp("kept"), population()
    data = log.prepared(folder, whole.filter("stay"), KEPT_SCHEMA)
    options = {"optim__schedule": "linear", "train__epochs": 30, "train__select": "click:logloss"}
    return folder, whole, data, trained_to_the_end(folder, **options)


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


@pytest.mark.parametrize("way", ["auto", pytest.param("platt", marks=pytest.mark.slow)])
def test_the_exported_model_scores_the_whole_population(story, tmp_path, way):
    folder, whole, _, _ = story
    model = load(export_run([folder / "run"], tmp_path / "model", calibrate=way))
    scores = model.score(whole.select("item"))["click@all"].to_numpy()
    assert scores.mean() == pytest.approx(whole["click"].mean(), rel=0.1)
    assert model.meanings == {"click@all": "probability"}
    text = (tmp_path / "model/README.md").read_text()
    assert "these are scores of the weighted population" in text
    assert "| weights of rows | w, in the loss, metrics, calibration |" in text


# ---------------------------------------------------------------- a focal loss


RAW_ROWS, RAW_ITEMS = 12_000, 10
CLICKS = np.linspace(0.05, 0.2, RAW_ITEMS)  # p(click | item)
RAW_SCHEMA = """
name: raw
fields: {item: }
tasks: {click: , order: {upstream: [click], also_report: [click]}}
group: user
split: {by: random, validation: 0.25, test: 0.25}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run, its log, and its test metrics."""
    folder, rng = tmp_path_factory.mktemp("raw"), np.random.default_rng(1)
    item = rng.integers(0, RAW_ITEMS, RAW_ROWS)
    click = rng.random(RAW_ROWS) < CLICKS[item]
    order = click & (rng.random(RAW_ROWS) < 0.4)
    rows = pl.DataFrame({"item": item, "click": click * 1, "order": order * 1, "user": item})
    log.prepared(folder, rows, RAW_SCHEMA)
    changes = {"loss__tasks": "click=focal", "optim__learning_rate": 0.02}
    return folder, rows, trained_to_the_end(folder, **changes)["test"]


def exported(trained, out, way):
    """(the model, its card)"""
    folder, _, _ = trained
    model = load(export_run([folder / "run"], out / way, calibrate=way, say=lambda told: None))
    return model, (out / way / "README.md").read_text()


def test_a_calibrated_score_is_a_probability(trained, tmp_path):
    _, rows, raw = trained
    rate = rows["click"].mean()
    assert raw["click@all"]["mean_prediction"] > 1.5 * rate
    model, card = exported(trained, tmp_path, "auto")
    scores = model.score(rows.select("item"))
    assert scores["click@all"].mean() == pytest.approx(rate, rel=0.1)
    assert "| click | binary | probability |" in card
    assert "not a probability" not in card
    assert set(model.meanings.values()) == {"probability"}
    model, card = exported(trained, tmp_path, "none")
    kind = "score, not a probability (focal loss)"
    assert f"| click | binary | {kind} |" in card
    assert model.meanings == {"click@all": kind, "order@all": "probability", "order@click": kind}


def test_a_run_notes_which_scores_are_no_probabilities():
    order = Task("order", upstream=("click",), also_report=("click",))
    tasks = (Task("click"), order, Task("watch", "regression"))
    schema = Schema("shop", (Field("item", rows=3),), tasks, group="user")
    config = get_config().loss

    def notes(**options):
        config.update(dict.fromkeys(("tasks", "pairwise"), "") | options)
        found = improper(read_losses(config, schema), schema)
        return [line.partition(" gives scores, not probabilities")[0] for line in found]

    assert notes() == notes(pairwise="watch=1") == []
    assert notes(tasks="click=focal") == ["note: the focal loss of click"]
    assert notes(pairwise="order=0.5") == ["note: the pairwise term of order"]
    smoothed = [f"note: the label smoothing of {task}" for task in ("click", "order")]
    assert notes(label_smoothing=0.1) == smoothed


# ---------------------------------------------------------------- nothing to learn


RANDOM_SCHEMA = """
name: shop
fields:
  user: {min_count: 2}
  item: {min_count: 2}
  seen: {kind: bag, table: item, min_count: 2, max_values: 3}
  hour: {value: hour(t)}
  price: {kind: numeric, log: true, buckets: 8}
  embedding: {kind: vector, length: 3}
  user_x_hour: {cross: [user, hour], encoder: hash, size: 400}
  clicked: {history: {of: item, where: "click == 1", last: 10}}
  ordered: {history: {of: item, where: order == 1, last: 10}}
tasks:
  click:
  order:
  like:
group: user
time: t
"""
LABELS = {"click": 0.4, "order": 0.25, "like": 0.5}  # {task: positive rate}


def random_labels(count):
    """A log whose labels have nothing to do with its fields, nor with one another."""
    rng = np.random.default_rng(8)
    drawn = {name: rng.random(count) < rate for name, rate in LABELS.items()}
    return log.rows(count, seed=8).with_columns(
        **{n: pl.Series(v).cast(pl.Int8) for n, v in drawn.items()}
    )


def quick_config(folder):
    config = get_config(f"shared_bottom,quick,schema={folder}/shop.yaml")
    config.data.data_dir = str(folder / "data")
    return config


def metrics_of(folder, frame, text, seeds=(1,)):
    """The test metrics of a small model, trained to the end on the log; of several seeds a list."""
    log.prepared(folder, frame, text)
    config = quick_config(folder)
    config.data.batch_size, config.model.histories = 256, "din"
    config.train.epochs = 3
    config.optim.learning_rate = 0.005
    runs = []
    for config.seed in seeds:
        runs.append(train(config, folder / f"run_{config.seed}")["test"])
    return runs if len(runs) > 1 else runs[0]


@pytest.mark.slow
def test_random_labels_cannot_be_learned(tmp_path):
    found = metrics_of(tmp_path, random_labels(8000), RANDOM_SCHEMA)
    for name in LABELS:
        metrics = found[f"{name}@all"]
        positives = metrics["positives"]
        negatives = metrics["examples"] - positives
        # The standard deviation of the AUC of scores that know nothing (Mann and Whitney 1947).
        deviation = np.sqrt((positives + negatives + 1) / (12 * positives * negatives))
        assert abs(metrics["auc"] - 0.5) < 3 * deviation


@pytest.mark.slow
def test_probabilities_are_those_of_the_log_where_negatives_are_sampled(tmp_path):
    """Without the weights the mean prediction would be 0.4 / (0.4 + 0.2 · 0.6) = 0.77."""
    text = f"{RANDOM_SCHEMA}sample_negatives: {{click: 0.2}}\n"
    runs = metrics_of(tmp_path, random_labels(16_000), text, seeds=(1, 2, 3))
    for name, rate in LABELS.items():  # one small model's mean is off by up to 0.1
        means = [run[f"{name}@all"]["mean_prediction"] for run in runs]
        assert abs(np.mean(means) - rate) < 0.06
    config = quick_config(tmp_path)
    config.loss.sample_weights = False
    with pytest.raises(UserError, match="has sampled negatives"):
        train(config, tmp_path / "unweighted")
