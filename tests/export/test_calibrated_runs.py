"""Positive weights and sampled negatives move no probability: on a log whose rates are known,
what is predicted of unsampled test rows is what happens."""

import numpy as np
import polars as pl
import pytest

from configs.logs import get_config
from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.train import train

ROWS = 40_000
ITEMS = 12
CLICK = np.linspace(0.02, 0.3, ITEMS)  # p(click | item)
ORDER = np.linspace(0.5, 0.1, ITEMS)  # p(order | click, item)
SCHEMA = """
name: rates
fields: {item: }
tasks: {click: , order: {upstream: [click], also_report: [click]}}
split: {by: random, validation: 0.1, test: 0.25}
"""


def log():
    rng = np.random.default_rng(1)
    item = rng.integers(0, ITEMS, ROWS)
    click = rng.random(ROWS) < CLICK[item]
    order = click & (rng.random(ROWS) < ORDER[item])
    return pl.DataFrame({"item": item, "click": click.astype(int), "order": order.astype(int)})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "options"),
    [
        ("", {"loss.positive_weights": "click=5,order=20"}),
        ("sample_negatives: {click: 0.1}\n", {"loss.sample_weights": True}),
        (
            "sample_negatives: {click: 0.2}\n",
            {"loss.sample_weights": True, "loss.positive_weights": "click=4,order=10"},
        ),
    ],
)
def test_predicted_over_observed_is_1(tmp_path, more, options):
    (tmp_path / "rates.yaml").write_text(SCHEMA + more)
    log().write_parquet(tmp_path / "log.parquet")
    data = prepare(
        tmp_path / "rates.yaml", str(tmp_path / "log.parquet"), tmp_path / "data", processes=1
    )
    config = get_config(f"shared_bottom,schema={tmp_path / 'rates.yaml'}")
    config.update_from_flattened_dict(
        {
            "data.data_dir": str(tmp_path / "data"),
            "data.batch_size": 1024,
            "model.experts": "mlp",
            "model.embedding_dim": 8,
            "model.mlp.hidden": (16,),
            "model.tower_hidden": (8,),
            "optim.learning_rate": 0.01,
            "optim.table_learning_rate": 0.05,
            "optim.schedule": "linear",
            "train.max_steps": 400,
            "train.epochs": 50,
            "train.patience": 0,
            "train.eval_every": 400,
            "parallel.devices": 1,
            **options,
        }
    )
    found = train(config, tmp_path / "run")["test"]
    assert data.rows["test"] > 9_000  # none of its negatives was sampled
    known = {"click": CLICK.mean(), "order": (CLICK * ORDER).mean()}
    for task, rate in known.items():
        own = found[f"{task}@all"]
        assert own["examples"] == data.rows["test"]
        assert own["mean_prediction"] == pytest.approx(rate, rel=0.08), task
        assert own["mean_prediction"] / own["base_rate"] == pytest.approx(1, abs=0.1), task
