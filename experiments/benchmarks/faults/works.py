"""The commands that are killed, and starved of disk. A new command is a line in `works`."""

from __future__ import annotations

import pathlib

import polars as pl

import dtn_jax.data.sets
from dtn_jax.data.sets import catalog
from experiments.benchmarks.faults.calls import (
    Work,
    digest_of,
    of_files,
    of_run,
    of_set,
    of_sweep,
    of_table,
)

MODULES = (
    "dtn_jax.cli.train",
    "dtn_jax.cli.sweep",
    "dtn_jax.cli.paper_tables",
    "dtn_jax.cli.prepare",
    "dtn_jax.cli.export",
    "dtn_jax.cli.score",
)
SMALL = (
    "--config=configs/adult.py:shared_bottom,quick",
    "--config.model.experts=mlp",
    "--config.model.expert_dim=8",
    "--config.train.max_steps=40",
    "--config.train.eval_every=20",
    "--config.train.checkpoint_every=7",
    "--config.parallel.devices=1",
)
ROWS = "rows=200000"
RAW, SCORES = "rows.parquet", "scores.parquet"
COPIES = 8
PLACEMENTS = ("device", "stream")


def works(data: pathlib.Path, finished: pathlib.Path, model: pathlib.Path) -> list[Work]:
    """All of them.

    Args:
      data: the folder of prepared sets, which has adult.
      finished: the workdir of a finished run, to export.
      model: the folder of its exported model, beside which `write_rows` has put rows to score.
    """
    return [
        *(train(data, placement) for placement in PLACEMENTS),
        *(sweep(data, placement) for placement in PLACEMENTS),
        Work("paper_tables", "dtn_jax.cli.paper_tables", lambda f: tables(data, f), of_table),
        Work("prepare", "dtn_jax.cli.prepare", prepare, of_synthetic),
        Work("export", "dtn_jax.cli.export", lambda f: export(finished, f), of_model),
        Work("score", "dtn_jax.cli.score", lambda f: score(model, f), of_scores),
    ]


def train(data: pathlib.Path, placement: str) -> Work:
    def arguments(folder: pathlib.Path) -> list[str]:
        return [*placed(data, placement), f"--workdir={folder}"]

    return Work(f"train, {placement}", "dtn_jax.cli.train", arguments, of_run)


def sweep(data: pathlib.Path, placement: str) -> Work:
    def arguments(folder: pathlib.Path) -> list[str]:
        grid = "--grid=optim.learning_rate=1e-3,3e-3"
        return [*placed(data, placement), grid, f"--workdir={folder}"]

    return Work(f"sweep, {placement}", "dtn_jax.cli.sweep", arguments, of_sweep)


def placed(data: pathlib.Path, placement: str) -> list[str]:
    return [*SMALL, f"--config.data.placement={placement}", f"--config.data.data_dir={data}"]


def tables(data: pathlib.Path, folder: pathlib.Path) -> list[str]:
    few = ["--dataset=adult", "--table=overall", "--seeds=2", "--trials=1"]
    few += ["--entries=shared_bottom", "--set=train.max_steps=20"]
    return [*few, f"--data_dir={data}", f"--workdir={folder}"]


def prepare(folder: pathlib.Path) -> list[str]:
    return ["--dataset=synthetic", f"--options={ROWS}", f"--data_dir={folder}"]


def of_synthetic(folder: pathlib.Path) -> dict[str, object]:
    return of_set(catalog.load("synthetic", ROWS, str(folder)))


def export(finished: pathlib.Path, folder: pathlib.Path) -> list[str]:
    return [f"--workdir={finished}", f"--out={folder}", "--replace"]


def score(model: pathlib.Path, folder: pathlib.Path) -> list[str]:
    rows = model.with_name(RAW)
    return [f"--model={model}", f"--input={rows}", f"--output={folder / SCORES}"]


def of_scores(folder: pathlib.Path) -> dict[str, object]:
    return {SCORES: digest_of(pl.read_parquet(folder / SCORES).to_dict(as_series=False))}


def write_rows(model: pathlib.Path) -> None:
    """Rows of adult for `score`, many times over."""
    raw = pl.read_parquet(pathlib.Path(dtn_jax.data.sets.__file__).parent / "adult.parquet")
    pl.concat([raw] * COPIES).write_parquet(model.with_name(RAW))


def of_model(folder: pathlib.Path) -> dict[str, object]:
    """A model folder's files but its manifest and card, which tell when it was made."""
    told = ("manifest", "card", "README")
    return {k: v for k, v in of_files(folder).items() if not k.startswith(told)}
