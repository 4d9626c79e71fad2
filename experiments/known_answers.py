"""Two questions whose answers are known, over seeds.

    python -m experiments.known_answers --workdir=runs/known_answers

Products: a label is the sign of a product of two fields' values, which stand beside fields that say
nothing. Which experts learn it? Each is a model of one task, without a tower's hidden layers, and
stands beside an MLP of as many parameters.

Clicks: carts are known of clicked rows alone, and where a click is likely a cart is too (the law of
data set `synthetic` with a divergence of 0.5). How far is the mean of p(cart | click), over all
impressions, from the truth?

The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from ml_collections import ConfigDict

from configs import logs
from dtn_jax.cli import command
from dtn_jax.data.prepare import prepare
from dtn_jax.data.sets.synthetic import funnel, known_answer
from dtn_jax.models.experts import EXPERTS
from dtn_jax.report.grid import Grid
from dtn_jax.run import outcome
from dtn_jax.run.replicas import train_replicas
from dtn_jax.run.run import build_run

OUT = pathlib.Path(__file__).parent / "results" / "known_answers.md"
FIELDS, IDS, H, D = 6, 200, 16, 8  # of the products
EPOCHS = 4  # of each run
# Of p(cart | click): an architecture and what it is trained on, or its option.
METHODS = ("shared_bottom on clicked rows", "esmm", "escm2 ips", "escm2 dr")


EXAMPLE = "python -m experiments.known_answers --workdir=runs/known_answers"
OPTIONS = {
    "workdir=DIR": "of the runs",
    "seeds=N": "of each model",
    "rows=N": "of each set",
    "methods=NAMES": "of the clicks, by comma",
    "experts=NAMES": "of the products, by comma",
}
DEFAULTS = {
    "workdir": "runs/known_answers",
    "seeds": 3,
    "rows": 50_000,
    "methods": ",".join(METHODS),
    "experts": ",".join(EXPERTS),
}
RANGES = {"seeds": (1, 100), "rows": (1_000, 10**8)}
CHOICES = {"methods": METHODS, "experts": EXPERTS}


def main(arguments: Sequence[str]) -> None:
    given, _ = command.parse(__name__, arguments)
    given.workdir = pathlib.Path(given.workdir)
    given.methods, given.experts = command.listed(given.methods), command.listed(given.experts)
    of_clicks = ["p(cart, given a click)", "its mean over the truth's", "its log loss on all rows"]
    of_products = ["expert", "parameters", "log loss", "log loss of an MLP of its size"]
    grids = Grid(of_clicks, list(clicks(given))), Grid(of_products, list(products(given)))
    titles = "## Clicks: the bias of CVR", "## Products: the log loss on test"
    parts = [f"{title}\n\n{grid.markdown().strip()}" for title, grid in zip(titles, grids)]
    note = (
        f"Made by `python -m experiments.known_answers`, {given.rows:,} rows, {given.seeds} seeds."
    )
    OUT.write_text("\n\n".join(["# Known answers", note, *parts]) + "\n")


def products(given: argparse.Namespace) -> Iterator[list[str]]:
    """An expert, its parameters, its log loss on test, and that of an MLP of its size."""
    draw = np.random.default_rng(0)
    values, ids = draw.normal(size=(2, IDS)), draw.integers(0, IDS, (FIELDS, given.rows))
    columns = {f"field_{i}": column for i, column in enumerate(ids)}
    columns["label"] = values[0, ids[0]] * values[1, ids[1]] > 0
    config = config_of(given, "products", columns, {"label": {}})
    config.model.architecture, config.model.tower_hidden = "single_task", ()
    for expert in given.experts:
        config.model.experts, config.model.mlp.hidden = expert, (128,)
        size = build_run(config).size.parameters
        runs = trained(given, config, expert)
        width = max(1, round((size - 2 * H - 1) / (FIELDS * D + 1 + H)))
        config.model.experts, config.model.mlp.hidden = "mlp", (width,)
        pair = (runs, trained(given, config, f"mlp_{width}"))
        tests = [[outcome.read(f)["test"]["label@all"] for f in folders] for folders in pair]
        yield [expert, f"{size:,}", *(spread([t["logloss"] for t in each]) for each in tests)]


def clicks(given: argparse.Namespace) -> Iterator[list[str]]:
    """A method, its mean p(cart | click) over the true one, and its log loss, both on all rows."""
    spec = funnel.FunnelSpec(rows=given.rows, divergence=0.5)
    ids, labels = funnel.rows(spec, 0, given.rows)
    columns = dict(zip((*funnel.FIELDS, "click", "cart"), (*ids.T, *labels.T)))
    test = splits(given.rows) == "test"
    q = known_answer.bayes_scores(spec, ids[test])["cart@click"]
    rate = labels[test & (labels[:, 0] == 1), 1].mean()
    for name, p in (("the truth", q), ("mean of clicked rows", np.full(len(q), rate))):
        yield [name, f"{p.mean() / q.mean():.3f}", f"{expected_loss(q, p):.4f}"]
    for method in given.methods:
        space = "click" if "clicked" in method else "all"
        tasks = {"click": {}, "cart": {"upstream": ["click"], "space": space}}
        config = config_of(given, f"clicks_{space}", columns, tasks)
        config.model.architecture = method.split()[0]
        config.model.escm2.kind = "ips" if "ips" in method else "dr"
        ratios, losses = [], []
        for folder in trained(given, config, method.replace(" ", "_")):
            scores = pl.read_parquet(folder / "predictions.parquet")
            assert (scores["label/click"].to_numpy() == labels[test, 0]).all()
            p = scores["score/cart"].to_numpy().astype(float)
            p = p if space == "click" else p / scores["score/click"].to_numpy()
            ratios.append(p.mean() / q.mean())
            losses.append(expected_loss(q, p))
        yield [method, spread(ratios), spread(losses)]


def config_of(given: argparse.Namespace, name: str, columns: Mapping, tasks: Mapping) -> ConfigDict:
    """Prepares the rows, and gives the config that all models share."""
    fields = {column: {} for column in columns if column not in tasks}
    split = {"by": "column", "column": "_split"}
    path = given.workdir / f"{name}.yaml"
    given.workdir.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"name": name, "fields": fields, "tasks": tasks, "split": split}))
    frame = pl.DataFrame({**columns, "_split": splits(given.rows)}).cast(dict.fromkeys(tasks, int))
    prepare(path, frame, given.workdir / "data")
    config = logs.get_config(f"schema={path}")
    config.data.data_dir, config.model.experts = str(given.workdir / "data"), "mlp"
    config.model.expert_dim, config.model.embedding_dim = H, D
    config.train.epochs, config.train.patience = EPOCHS, 0
    config.optim.learning_rate = config.optim.table_learning_rate = 1e-2
    return config


def trained(given: argparse.Namespace, config: ConfigDict, name: str) -> list[pathlib.Path]:
    """The folders of the runs, a seed each."""
    config = ConfigDict(config.to_dict() | {"replicas": str(given.seeds)})
    train_replicas(config, given.workdir / name)
    return [given.workdir / name / f"replica_{seed}" for seed in range(given.seeds)]


def splits(rows: int) -> np.ndarray:
    """Of each row: the first eight tenths are train, then validation, then test."""
    tenth = np.arange(rows) * 10 // rows
    return np.where(tenth < 8, "train", np.where(tenth < 9, "validation", "test"))


def expected_loss(q: np.ndarray, p: np.ndarray) -> float:
    """The mean log loss of p where labels are drawn with q."""
    return -np.mean(q * np.log(p) + (1 - q) * np.log1p(-p))


def spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=min(1, len(values) - 1)):.4f}"


if __name__ == "__main__":
    command.run(main)
