"""Workdirs of finished runs without training: a config, a schema and given predictions."""

import json

import numpy as np
import polars as pl

from configs.base import get_config
from dtn_jax.metrics.scores import Scores, write_predictions
from dtn_jax.schema import Field, Schema, Task

ROWS = 3000
SCHEMA = Schema(
    "shop",
    (Field("item", rows=7),),
    (
        Task("click"),
        Task("order", space="click", also_report=("all",), upstream=("click",)),
        Task("watch", "regression"),
    ),
    group="user",
)


def scores(skill=1.0, seed=0, rows=ROWS):
    """Scores of rows that are always the same, by a model of some skill."""
    rng = np.random.default_rng(99)
    true = rng.normal(-0.5, 1.2, (rows, 3))
    labels = (rng.random((rows, 3)) < 1 / (1 + np.exp(-true))).astype(np.float32)
    labels[:, 2] = true[:, 2] + rng.normal(size=rows)
    mask = np.ones((rows, 3), bool)
    mask[:, 2] = labels[:, 0] == 1
    group = rng.integers(300, size=rows) * 11
    noise = np.random.default_rng(seed).normal(size=(rows, 3))
    logits = (skill * true + (1 - skill) * noise).astype(np.float32)
    return Scores(logits, labels, mask, np.ones(rows, np.float32), group)


def run(folder, found, seed=0, data="d" * 64, **changes):
    """The folder of a finished run with these scores of test."""
    folder.mkdir(parents=True)
    config = get_config()
    config.seed = seed
    config.loss.sample_weights = config.evaluate.sample_weights = False  # the set has no weights
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    facts = {"config": config.to_dict(), "data": data, "logits": "log-odds"}
    (folder / "config.json").write_text(json.dumps(facts))
    (folder / "schema.json").write_text(SCHEMA.to_json())
    (folder / "results.json").write_text("{}")
    write_predictions(folder / "predictions.parquet", found, SCHEMA)
    return str(folder)


def file(path, found, shuffled=True, **columns):
    """The same as a Parquet file of another system: probabilities by their spaces, ids, labels."""
    frame = pl.DataFrame(
        {
            "id": [f"r{n}" for n in range(len(found.logits))],
            "row": np.arange(len(found.logits)),
            "click@all": 1 / (1 + np.exp(-found.logits[:, 0].astype(float))),
            "order@click": 1 / (1 + np.exp(-found.logits[:, 1].astype(float))),
            "watch@all": found.logits[:, 2],
            "click": found.labels[:, 0],
            "order": found.labels[:, 1],
            "watch": [v if m else None for v, m in zip(found.labels[:, 2], found.label_mask[:, 2])],
        }
    ).with_columns(**columns)
    frame = frame.sample(fraction=1, shuffle=True, seed=3) if shuffled else frame
    frame.write_parquet(path)
    return str(path)
