"""A regression's score is in its label's unit everywhere: predictions, metrics, programs, files."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import polars as pl
import pytest
from drawn_models import SCHEMA, batch, drawn, exported
from own_log import log, prepared, split_frames

from configs.logs import get_config
from dtn_jax.export import load
from dtn_jax.export.write import export_run
from dtn_jax.export.write.again import make_again
from dtn_jax.losses import LOSSES
from dtn_jax.losses.d2q import D2Q
from dtn_jax.losses.log_normal import LogNormal
from dtn_jax.losses.ordinal import Ordinal
from dtn_jax.losses.weighted_logistic import WeightedLogistic
from dtn_jax.train import train

QUANTILES = tuple((age - 3.0, age + 1.0, age * 7.0 + 9) for age in range(5))
TASKS = (*SCHEMA.tasks[:2], dataclasses.replace(SCHEMA.tasks[2], quantiles=QUANTILES))
AGE = [field.name for field in SCHEMA.slot_fields()].index("age")
MEANT = {
    "log_normal": LogNormal(),
    "weighted_logistic": WeightedLogistic(),
    "ordinal": Ordinal(),
    "d2q": D2Q(field="age", quantiles=3, points=QUANTILES),
}


@pytest.mark.parametrize("name", MEANT)
def test_a_program_gives_the_scores_of_the_scoring_step(tmp_path, quick_to_compile, name):
    plain = drawn("shared_bottom", "mlp")
    options = {"loss__tasks": f"stars={name}", "loss__d2q__field": "age"}
    schema = dataclasses.replace(SCHEMA, tasks=TASKS)
    model = drawn("shared_bottom", "mlp", schema=schema, **options)
    logits, _ = exported(model.forward(), [model], tmp_path / "weights.safetensors")
    given = batch(50)
    found, z = logits(given), plain.expected(given)
    np.testing.assert_allclose(found, model.expected(given), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found[:, :2], plain.expected(given)[:, :2])
    read = (jnp.asarray(given.ids[:, AGE]),) if hasattr(MEANT[name], "reads") else ()
    meant = MEANT[name].prediction(jnp.asarray(z[:, 2]), *read)
    np.testing.assert_allclose(found[:, 2], meant, rtol=1e-6, atol=1e-6)
    assert np.abs(found[:, 2] - z[:, 2]).max() > 0.5


def test_every_loss_with_a_meaning_of_its_own_is_tried():
    assert set(MEANT) == {name for name, loss in LOSSES.items() if hasattr(loss, "prediction")}


def test_an_ensemble_gives_the_mean_in_the_labels_unit(tmp_path, quick_to_compile):
    """The mean of seconds, not the seconds of a mean logarithm."""
    options = {"loss__tasks": "stars=log_normal"}
    members = [drawn("shared_bottom", "mlp", seed=seed, **options) for seed in range(2)]
    forward = members[0].forward(members=2)
    logits, _ = exported(forward, members, tmp_path / "weights.safetensors")
    given = batch(50)
    each = np.stack([member.expected(given)[:, 2] for member in members])
    np.testing.assert_allclose(logits(given)[:, 2], each.mean(axis=0), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def run_and_model(tmp_path_factory):
    """Of watch times about 20 seconds: the log, a run with log_normal, and its model."""
    folder, frame = tmp_path_factory.mktemp("meaning"), log(3000)
    prepared(folder, frame)
    config = get_config(f"shared_bottom,schema={folder / 'shop.yaml'}")
    config.data.data_dir, config.data.batch_size = str(folder / "data"), 200
    config.model.experts, config.model.embedding_dim = "mlp", 4
    config.model.mlp.hidden = config.model.tower_hidden = (8,)
    config.optim.learning_rate = config.optim.table_learning_rate = 0.02
    config.loss.tasks = "watch=log_normal"
    config.train.max_steps, config.parallel.devices = 60, 1
    train(config, folder / "run")
    model = export_run([folder / "run"], folder / "model", say=lambda told: None)
    return frame, folder / "run", model


@pytest.mark.slow
def test_a_run_and_its_model_give_seconds(run_and_model):
    frame, run, model = run_and_model
    test = split_frames(frame)["test"]
    kept = pl.read_parquet(run / "predictions.parquet")
    scores = kept["score/watch"].to_numpy()
    got = load(model).score(test)["watch@all"].to_numpy()
    np.testing.assert_allclose(got[kept["row"].to_numpy()], scores, rtol=1e-5)
    known = kept["label/watch"].is_not_null().to_numpy()
    seconds = kept["label/watch"].to_numpy()[known]
    assert abs(np.median(scores) / np.median(seconds) - 1) < 0.3  # log(1 + 14) would be 2.7
    results = json.loads((run / "results.json").read_text())["test"]["watch@all"]
    rmse = np.sqrt(np.mean((scores[known] - seconds) ** 2))
    assert results["rmse"] == pytest.approx(rmse, rel=1e-5)
    measured = json.loads((model / "card/measured.json").read_text())
    assert measured["uncalibrated"]["test"]["watch@all"]["rmse"] == pytest.approx(rmse, rel=1e-5)
    card = (model / "card.md").read_text()
    assert "| watch | regression | the label's median | all rows |" in card
    make_again(model, say=lambda told: None)
    np.testing.assert_allclose(load(model).score(test)["watch@all"].to_numpy(), got, rtol=1e-6)
    assert "| click | binary | probability | all rows |" in card
