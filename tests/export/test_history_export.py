"""Histories from a log to a served model: the same scores, by every way of pooling."""

import numpy as np
import polars as pl
import pytest
from drawn_models import drawn, exported
from history_batches import SCHEMA, batch

from configs.logs import get_config
from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.export import load
from dtn_jax.export.write import export_run
from dtn_jax.models.histories import HISTORIES
from dtn_jax.train import train

LOG = """
name: shop
fields:
  item:
  viewed: {kind: sequence, target: item, max_values: 5}
tasks: [click]
time: t
"""


@pytest.mark.parametrize("way", ["", *HISTORIES])
def test_a_program_gives_the_scores_of_the_scoring_step(tmp_path, quick_to_compile, way):
    model = drawn("dtn", "mlp", schema=SCHEMA, model__histories=way, model__embedding_dim=4)
    logits, _ = exported(model.forward(), [model], tmp_path / "weights.safetensors")
    given = batch(50, dtype=np.float32).replace(row_mask=np.ones(50, bool))
    found, expected = logits(given), model.expected(given)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    turned = given.ids.copy()
    turned[:, 1:6] = -1  # nothing was viewed
    assert np.abs(logits(given.replace(ids=turned)) - found).max() > 1e-3


@pytest.mark.slow
def test_a_run_on_a_log_and_its_model_give_the_same_scores(tmp_path):
    rng, rows = np.random.default_rng(0), 2000
    names = [f"i{n}" for n in range(20)]
    viewed = [[names[i] for i in rng.integers(0, 20, n)] for n in rng.integers(0, 9, rows)]
    frame = pl.DataFrame(
        {
            "t": np.arange(rows),
            "item": [names[i] for i in rng.integers(0, 20, rows)],
            "viewed": viewed,
            "click": rng.integers(0, 2, rows),
        }
    )
    (tmp_path / "shop.yaml").write_text(LOG)
    prepare(tmp_path / "shop.yaml", frame, tmp_path / "data")
    config = get_config(f"shared_bottom,schema={tmp_path / 'shop.yaml'}")
    config.data.data_dir, config.data.batch_size = str(tmp_path / "data"), 64
    config.model.experts, config.model.histories = "mlp", "din"
    config.optim.table_init = 1.0
    config.train.max_steps, config.parallel.devices = 20, 1
    train(config, tmp_path / "run")
    model = load(export_run([tmp_path / "run"], tmp_path / "model", say=lambda told: None))
    kept = pl.read_parquet(tmp_path / "run/predictions.parquet")
    test = frame[int(0.9 * rows) :]
    got = model.score(test)["click@all"].to_numpy()[kept["row"].to_numpy()]
    logit = np.log(got) - np.log1p(-got)
    np.testing.assert_allclose(logit, kept["logit/click"].to_numpy(), rtol=1e-5, atol=1e-6)
    others = test.with_columns(pl.col("viewed").list.reverse())
    assert (
        np.abs(
            model.score(others)["click@all"].to_numpy() - model.score(test)["click@all"].to_numpy()
        ).max()
        > 1e-4
    )
