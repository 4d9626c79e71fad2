"""Histories with a known answer: does a pooling find that lately viewed items matter?

Items belong to hidden clusters, and users like some of them. The log-odds of a click rise with the
number of items of the target's cluster among the viewed ones, up to three, and depend on nothing
else; so the best AUC is known. The model, shared_bottom without hidden layers, sees ids alone: it
must learn which items belong together.

A second label, a like, depends in the same way on other clusters of the same items. DTN learns
both, with one pooling for all tasks or one a task (model.dtn.own_histories).
"""

from __future__ import annotations

import pathlib
import tempfile

import numpy as np
import polars as pl
from ml_collections import ConfigDict

from configs import logs
from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.metrics.auc import auc
from dtn_jax.models.histories import HISTORIES
from dtn_jax.replicas import train_replicas

from .histories import MEAN
from .measured import Cell, Goal, Measured, Options

ROWS, ITEMS, CLUSTERS, USERS = 500_000, 400, 100, 5000
LIKED, FAITHFUL = 8, 0.8  # clusters that a user likes, and the share of views that come from them
MOST = 30  # items of a history
BASE, RISE, COUNTED = -2.5, 1.2, 3  # log-odds of a click, what each item adds, how many do
SEEDS, EPOCHS = 3, 8
FOUND = 0.95  # of the way from 0.5 to the best AUC, by DIN
SCHEMA = f"""
name: known_history_{{count}}
fields:
  item:
  viewed: {{{{kind: sequence, target: item, max_values: {MOST}}}}}
tasks: [{{tasks}}]
time: t
"""
ALL, EACH = "din in DTN, for all tasks", "din in DTN, one a task"


def measure(options: Options) -> Measured:
    rows = []
    frame, odds = log(3000 if options.quick else ROWS)
    test = len(frame) - len(frame) // 10  # by time, the last tenth
    with tempfile.TemporaryDirectory() as folder:
        for tasks in (("click",), ("click", "like")):
            schema = pathlib.Path(folder) / f"known_{len(tasks)}.yaml"
            schema.write_text(SCHEMA.format(tasks=", ".join(tasks), count=len(tasks)))
            prepare(schema, frame.drop({"click", "like"} - {*tasks}), f"{folder}/data")
            best = {
                task: auc(odds[task][test:], frame[task].to_numpy()[test:].astype(float))
                for task in tasks
            }
            for way in (MEAN, *HISTORIES) if len(tasks) == 1 else (ALL, EACH):
                config = configured(schema, way)
                config.data.data_dir = f"{folder}/data"
                config.train.max_steps = 2 if options.quick else 0
                found = train_replicas(config, f"{folder}/{way}")
                rows += [row(way, task, found, best[task]) for task in tasks]
    shares = {(r["pooling"], r["task"]): r["of the way"] for r in rows}
    goals = [Goal("din: of the way to the best AUC", FOUND, shares["din", "click"])]
    title = f"test AUC of a log whose labels depend on the history alone, {SEEDS} seeds"
    note = (
        f"{ROWS:,} rows, {ITEMS} items in {CLUSTERS} hidden clusters, others for each label, "
        f"histories of up to {MOST}. Of the way: from 0.5 to the AUC of the true log-odds. "
        "Settings were chosen on validation, with DIN and clicks alone, and are the same for all."
    )
    return Measured(title, rows, goals, [note])


def configured(schema: pathlib.Path, way: str) -> ConfigDict:
    """The model that pools histories in a way."""
    config = logs.get_config(f"{'dtn' if way in (ALL, EACH) else 'shared_bottom'},schema={schema}")
    config.replicas = str(SEEDS)
    config.model.experts, config.model.histories = "mlp", "" if way == MEAN else way
    config.model.mlp.hidden = config.model.tower_hidden = ()
    if way in (ALL, EACH):
        config.model.histories, config.model.dtn.own_histories = "din", way == EACH
    config.optim.learning_rate, config.optim.table_learning_rate = 0.003, 0.01
    config.optim.table_init, config.optim.table_l2 = 0.1, 3e-4
    config.train.epochs, config.train.patience = EPOCHS, 0
    return config


def row(way: str, task: str, found: list[dict], best: float) -> dict[str, Cell]:
    """What was found of a task, beside its best AUC."""
    aucs = np.asarray([run["test"][f"{task}@all"]["auc"] for run in found])
    return {
        "pooling": way,
        "task": task,
        "AUC": float(aucs.mean()),
        "sd": float(aucs.std(ddof=1)),
        "best AUC": best,
        "of the way": float(((aucs - 0.5) / (best - 0.5)).mean()),
    }


def log(rows: int) -> tuple[pl.DataFrame, dict[str, np.ndarray]]:
    """The log, in order of time, and each row's true log-odds of either label."""
    rng = np.random.default_rng(0)
    members = rng.permutation(ITEMS).reshape(CLUSTERS, -1)
    cluster = np.empty(ITEMS, int)
    cluster[members] = np.arange(CLUSTERS)[:, None]
    likes = np.stack([rng.choice(CLUSTERS, LIKED, replace=False) for _ in range(USERS)])
    user = rng.integers(0, USERS, rows)

    def drawn(shape: tuple[int, ...], faithful: float) -> np.ndarray:
        """Items, of the user's clusters or of any."""
        liked = likes[user.reshape(-1, *(1,) * (len(shape) - 1)), rng.integers(0, LIKED, shape)]
        any_ = rng.integers(0, CLUSTERS, shape)
        chosen = np.where(rng.random(shape) < faithful, liked, any_)
        return members[chosen, rng.integers(0, members.shape[1], shape)]

    viewed, length = drawn((rows, MOST), FAITHFUL), rng.integers(0, MOST + 1, rows)
    item = drawn((rows,), 0.5)
    there = np.arange(MOST)[None] < length[:, None]
    odds = {"click": odds_of(cluster, viewed, there, item)}
    labels = {"click": drawn_labels(odds["click"], rng)}
    odds["like"] = odds_of(rng.permutation(cluster), viewed, there, item)
    labels["like"] = drawn_labels(odds["like"], rng)
    lists = [row[:count] for row, count in zip(viewed.tolist(), length.tolist())]
    return pl.DataFrame({"t": np.arange(rows), "item": item, "viewed": lists} | labels), odds


def odds_of(
    cluster: np.ndarray, viewed: np.ndarray, there: np.ndarray, item: np.ndarray
) -> np.ndarray:
    """The log-odds of a label that asks how many viewed items are of the item's cluster."""
    alike = ((cluster[viewed] == cluster[item][:, None]) & there).sum(axis=1)
    return BASE + RISE * np.minimum(alike, COUNTED)


def drawn_labels(odds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return (rng.random(len(odds)) < 1 / (1 + np.exp(-odds))).astype(int)
