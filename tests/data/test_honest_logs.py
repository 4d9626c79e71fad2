"""Nothing leaks from test into train, nor from a row into its histories: random labels cannot be
learned."""

import numpy as np
import polars as pl
import pytest
from world.log import prepared, rows

from dtn_jax.config import load_config
from dtn_jax.errors import UserError
from dtn_jax.run.train import train

pytestmark = pytest.mark.slow
SCHEMA = """
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
    return rows(count, seed=8).with_columns(
        **{n: pl.Series(v).cast(pl.Int8) for n, v in drawn.items()}
    )


def metrics_of(folder, frame, text, seeds=(1,)):
    """The test metrics of a small model, trained to the end on the log; of several seeds a list."""
    prepared(folder, frame, text)
    config = load_config(f"configs/logs.py:shared_bottom,quick,schema={folder}/shop.yaml")
    config.data.data_dir = str(folder / "data")
    config.data.batch_size, config.model.histories = 256, "din"
    config.train.epochs = 3
    config.optim.learning_rate = 0.005
    runs = []
    for config.seed in seeds:
        runs.append(train(config, folder / f"run_{config.seed}")["test"])
    return runs if len(runs) > 1 else runs[0]


def test_random_labels_cannot_be_learned(tmp_path):
    found = metrics_of(tmp_path, random_labels(8000), SCHEMA)
    for name in LABELS:
        metrics = found[f"{name}@all"]
        positives = metrics["positives"]
        negatives = metrics["examples"] - positives
        # The standard deviation of the AUC of scores that know nothing (Mann and Whitney 1947).
        deviation = np.sqrt((positives + negatives + 1) / (12 * positives * negatives))
        assert abs(metrics["auc"] - 0.5) < 3 * deviation


def test_probabilities_are_those_of_the_log_where_negatives_are_sampled(tmp_path):
    """Without the weights the mean prediction would be 0.4 / (0.4 + 0.2 · 0.6) = 0.77."""
    text = f"{SCHEMA}sample_negatives: {{click: 0.2}}\n"
    runs = metrics_of(tmp_path, random_labels(16_000), text, seeds=(1, 2, 3))
    for name, rate in LABELS.items():  # one small model's mean is off by up to 0.1
        means = [run[f"{name}@all"]["mean_prediction"] for run in runs]
        assert abs(np.mean(means) - rate) < 0.06
    config = load_config(f"configs/logs.py:shared_bottom,quick,schema={tmp_path}/shop.yaml")
    config.data.data_dir = str(tmp_path / "data")
    config.loss.sample_weights = False
    with pytest.raises(UserError, match="has sampled negatives"):
        train(config, tmp_path / "unweighted")
