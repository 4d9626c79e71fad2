"""Runs on a small log of six days, four of them train; its rows are not quite in order of time."""

import datetime
import functools

import numpy as np
import polars as pl

from configs import logs
from dtn_jax.data.prepare import prepare

ROWS, DAYS, SIZE = 900, 6, 32
SCHEMA = """
name: dated
fields: {user: , item: }
tasks:
  click:
  order: {upstream: [click], also_report: [click]}
group: user
time: t
split: {by: time, validation: 2026-03-05, test: 2026-03-06}
"""


def frame():
    """Clicks depend on the item, and from the third day on on another one's liking."""
    draw = np.random.default_rng(3)
    seconds = np.sort(draw.integers(0, DAYS * 86_400, ROWS)) + draw.normal(0, 20_000, ROWS)
    seconds = np.clip(seconds, 0, DAYS * 86_400 - 1).astype(int)
    start, item = datetime.datetime(2026, 3, 1), draw.integers(0, 20, ROWS)
    liked = draw.normal(size=(2, 20)) * 2
    click = draw.random(ROWS) < 1 / (1 + np.exp(-liked[(seconds > 2 * 86_400).astype(int), item]))
    return pl.DataFrame(
        {
            "t": [start + datetime.timedelta(seconds=int(s)) for s in seconds],
            "user": draw.integers(0, 30, ROWS),
            "item": item,
            "click": click.astype(int),
            "order": (click & (draw.random(ROWS) < 0.5)).astype(int),
        }
    )


@functools.cache
def folder_of(root):
    """A folder with the schema file, and the set prepared from the log."""
    (root / "dated.yaml").write_text(SCHEMA)
    frame().write_parquet(root / "log.parquet")
    prepare(root / "dated.yaml", str(root / "log.parquet"), root / "data", processes=1)
    return root


def train_days():
    """{day, as 2026-03-01: its rows of the log, in the log's order}."""
    by_day = frame().with_columns(day=pl.col("t").dt.date().cast(pl.String))
    days = sorted(by_day["day"].unique())[: DAYS - 2]
    return {day: by_day.filter(pl.col("day") == day) for day in days}


def dated(root, **changes):
    """An epoch of a small model that goes through the days and scores each first.

    `train__max_steps=2` changes train.max_steps.
    """
    folder = folder_of(root)
    config = logs.get_config(f"shared_bottom,schema={folder / 'dated.yaml'}")
    config.data.data_dir, config.data.batch_size = str(folder / "data"), SIZE
    config.data.order, config.train.evaluate_first, config.train.epochs = "day", True, 1
    config.data.eval_batch_size = 64
    config.model.experts = "mlp"
    config.model.embedding_dim = config.model.expert_dim = 4
    config.model.mlp.hidden = config.model.tower_hidden = (4,)
    config.optim.learning_rate = config.optim.table_learning_rate = 0.03
    config.train.checkpoint_every, config.parallel.devices = 4, 1
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    return config
