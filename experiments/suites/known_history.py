"""Histories with a known answer: does a pooling find that lately viewed items matter?

Items belong to hidden clusters, and users like some of them. The log-odds of a click rise with the
number of items of the target's cluster among the viewed ones, up to three, and depend on nothing
else; so the best AUC is known. The model, shared_bottom without hidden layers, sees ids alone: it
must learn which items belong together.
"""

from __future__ import annotations

import pathlib
import tempfile

import numpy as np
import polars as pl

from configs import logs
from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.metrics.auc import auc
from dtn_jax.models.histories import HISTORIES
from dtn_jax.replicas import train_replicas

from .histories import MEAN
from .measured import Goal, Measured, Options

ROWS, ITEMS, CLUSTERS, USERS = 500_000, 400, 100, 5000
LIKED, FAITHFUL = 8, 0.8  # clusters that a user likes, and the share of views that come from them
MOST = 30  # items of a history
BASE, RISE, COUNTED = -2.5, 1.2, 3  # log-odds of a click, what each item adds, how many do
SEEDS, EPOCHS = 3, 8
FOUND = 0.95  # of the way from 0.5 to the best AUC, by DIN
SCHEMA = f"""
name: known_history
fields:
  item:
  viewed: {{kind: sequence, target: item, max_values: {MOST}}}
tasks: [click]
time: t
"""


def measure(options: Options) -> Measured:
    rows, goals = [], []
    frame, odds = log(3000 if options.quick else ROWS)
    test = len(frame) - len(frame) // 10  # by time, the last tenth
    best = auc(odds[test:], frame["click"].to_numpy()[test:].astype(float))
    with tempfile.TemporaryDirectory() as folder:
        schema = pathlib.Path(folder) / "known.yaml"
        schema.write_text(SCHEMA)
        prepare(schema, frame, f"{folder}/data")
        for way in (MEAN, *HISTORIES):
            config = logs.get_config(f"shared_bottom,schema={schema}")
            config.data.data_dir, config.replicas = f"{folder}/data", str(SEEDS)
            config.model.experts, config.model.histories = "mlp", "" if way == MEAN else way
            config.model.mlp.hidden = config.model.tower_hidden = ()
            config.optim.learning_rate, config.optim.table_learning_rate = 0.003, 0.01
            config.optim.table_init, config.optim.table_l2 = 0.1, 3e-4
            config.train.epochs, config.train.max_steps = EPOCHS, 2 if options.quick else 0
            found = train_replicas(config, f"{folder}/{way}")
            aucs = np.asarray([run["test"]["click@all"]["auc"] for run in found])
            share = (aucs - 0.5) / (best - 0.5)
            rows.append(
                {
                    "pooling": way,
                    "AUC": float(aucs.mean()),
                    "sd": float(aucs.std(ddof=1)),
                    "best AUC": best,
                    "of the way": float(share.mean()),
                }
            )
            if way == "din":
                goals.append(Goal("din: of the way to the best AUC", FOUND, float(share.mean())))
    title = f"test AUC of a log whose clicks depend on the history alone, {SEEDS} seeds"
    note = (
        f"{ROWS:,} rows, {ITEMS} items in {CLUSTERS} hidden clusters, histories of up to {MOST}. "
        "Of the way: from 0.5 to the AUC of the true log-odds. Settings were chosen on validation, "
        "with DIN, and are the same for all."
    )
    return Measured(title, rows, goals, [note])


def log(rows: int) -> tuple[pl.DataFrame, np.ndarray]:
    """The log, in order of time, and each row's true log-odds of a click."""
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
    alike = ((cluster[viewed] == cluster[item][:, None]) & there).sum(axis=1)
    odds = BASE + RISE * np.minimum(alike, COUNTED)
    click = rng.random(rows) < 1 / (1 + np.exp(-odds))
    lists = [row[:count] for row, count in zip(viewed.tolist(), length.tolist())]
    columns = {"t": np.arange(rows), "item": item, "viewed": lists, "click": click.astype(int)}
    return pl.DataFrame(columns), odds
