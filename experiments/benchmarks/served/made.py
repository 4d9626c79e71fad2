"""A small DTN on the log of the suite `logs`, trained for a moment and exported; and its rows."""

from __future__ import annotations

import io
import json
import pathlib

import numpy as np
import polars as pl
import rich

from dtn_jax import export
from dtn_jax.config import load_config
from dtn_jax.data.prepare import prepare
from dtn_jax.export.model import Model
from dtn_jax.export.write import export_run
from dtn_jax.train import train
from experiments.benchmarks import logs

ROWS, QUICK = 100_000, 6_000
STEPS = 20
LABELS = ("click", "cart", "order")
SPLIT = "split: {by: random, validation: 0.1, test: 0.1}\n"
USER = ("user", "session", "query", "city", "device", "system", "language", "t", "age")


def model(folder: pathlib.Path, quick: bool) -> pathlib.Path:
    """Trains and exports; returns the model's folder."""
    schema, log = folder / "shop.yaml", folder / "log.parquet"
    schema.write_text(logs.SCHEMA.replace("size: 1000000", "size: 20000") + SPLIT)
    logs.columns(QUICK if quick else ROWS, 0).write_parquet(log)
    prepare(schema, str(log), folder / "data", processes=1)
    flags = ",quick" if quick else ""
    config = load_config(f"configs/logs.py:dtn,schema={schema}{flags}")
    config.data.data_dir = str(folder / "data")
    config.train.max_steps = 2 if quick else STEPS
    if quick:
        config.model.experts = "mlp"
    train(config, folder / "run")
    return export_run([folder / "run"], folder / "model", say=rich.print)


def rows(count: int, seed: int) -> list[dict]:
    """Rows of a day that training has not seen, as JSON has them: a user and many candidates."""
    frame = logs.columns(max(count, 64), 1000 + seed).drop(LABELS)
    frame = frame.with_columns(pl.col("t").dt.strftime("%Y-%m-%dT%H:%M:%S")).sample(
        count, seed=seed
    )
    first = frame[:1]
    return frame.with_columns(pl.lit(first[name][0]).alias(name) for name in USER).to_dicts()


def body(found: list[dict]) -> bytes:
    """The rows as a request: the user's fields once."""
    user = {name: found[0][name] for name in USER}
    rest = [{k: v for k, v in row.items() if k not in USER} for row in found]
    return json.dumps({"user": user, "candidates": rest}).encode()


def stream(found: list[dict]) -> bytes:
    """The rows as an Arrow stream."""
    sink = io.BytesIO()
    pl.DataFrame(found).write_ipc_stream(sink, compat_level=pl.CompatLevel.oldest())
    return sink.getvalue()


def wanted(model: Model, found: list[dict]) -> dict[str, np.ndarray]:
    return {name: column.to_numpy() for name, column in model.score(found).to_dict().items()}


def load(folder: pathlib.Path) -> Model:
    return export.load(folder, largest=1024)
