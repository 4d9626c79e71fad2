"""Histories tell nothing of the row's own labels: random labels cannot be learned from them."""

import numpy as np
import polars as pl
import pytest
from shop_log import schema_file, write

from dtn_jax.config import load_config
from dtn_jax.datasets.logs import prepare as logs
from dtn_jax.datasets.logs.rows import user_histories
from dtn_jax.train import train

pytestmark = pytest.mark.slow
SCHEMA = """
name: shop
fields:
  item: {}
  clicked: {history: {of: item, where: "click == 1", last: 10}}
  ordered: {history: {of: item, where: order == 1, last: 10}}
tasks: [click, order]
group: user
time: t
"""
ROWS = 8000
TASKS = {"click": 0.4, "order": 0.25}  # {task: positive rate}


def log(users):
    """A log in no order whose labels were drawn before anything was made of them."""
    rng = np.random.default_rng(5)
    return pl.DataFrame(
        {
            "t": 1_772_000_000 + rng.integers(0, 500, ROWS),
            "user": rng.integers(0, users, ROWS),
            "item": rng.integers(0, 20, ROWS),
            **{task: rng.random(ROWS) < rate for task, rate in TASKS.items()},
        }
    )


def metrics_of(folder, frame):
    """The test metrics of DIN, trained to the end on the log."""
    source, schema = write(folder / "raw", frame), schema_file(folder, SCHEMA)
    logs.prepare(schema, source, folder / "data", processes=1)
    config = load_config(f"configs/logs.py:shared_bottom,quick,schema={schema}")
    config.data.data_dir = str(folder / "data")
    config.data.batch_size = 256
    config.model.histories = "din"
    config.train.epochs = 3
    config.optim.learning_rate = 0.005
    return train(config, folder / "run")["test"]


def test_random_labels_cannot_be_learned_from_histories(tmp_path):
    found = metrics_of(tmp_path, log(users=60))
    for task in TASKS:
        metrics = found[f"{task}@all"]
        positives = metrics["positives"]
        negatives = metrics["examples"] - positives
        # The standard deviation of the AUC of scores that know nothing (Mann and Whitney 1947).
        deviation = np.sqrt((positives + negatives + 1) / (12 * positives * negatives))
        assert abs(metrics["auc"] - 0.5) < 3 * deviation


def test_a_row_in_its_own_history_would_be_learned(tmp_path, monkeypatch):
    def off_by_one(user, time, event, last):
        found = honest(user, time, event, last)
        found["count"] += event  # the row itself, where no other row has its time
        return found

    honest = user_histories.earlier
    frame = log(users=3 * ROWS).with_columns(t=1_772_000_000 + pl.int_range(pl.len()))
    monkeypatch.setattr(user_histories, "earlier", off_by_one)
    found = metrics_of(tmp_path, frame)
    assert all(found[f"{task}@all"]["auc"] > 0.9 for task in TASKS)
