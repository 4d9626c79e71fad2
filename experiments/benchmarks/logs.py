"""Your own logs: rows a second of a core from raw files to blocks, and memory.

Files of 20 columns are generated, with the cardinalities of `columns`. Each of their formats is
prepared twice, on one core and on two, each time by a process of its own, whose peak of resident
memory is taken; a rate is of the whole way: reading, fitting, writing.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import tempfile

import numpy as np
import polars as pl

from configs import logs as logs_config
from dtn_jax.data import prepare as logs
from dtn_jax.export.write import export_run
from dtn_jax.run.train import train
from experiments.benchmarks.measured import Clock, Goal, Measured, Options, apart, peak_mb

ROWS, QUICK = 5_000_000, 20_000
FILE_ROWS = 500_000
WANTED_RATES = {"parquet": 3.5e5, "arrow": 4e5, "csv": 2.2e5, "jsonl": 1.7e5}  # of one core
WANTED_SECONDS = {"parquet": 6.5, "arrow": 9.5, "csv": 18.0, "jsonl": 24.0}  # of two, for ROWS
WANTED_MB = 1500.0
WRITERS = {
    "parquet": (pl.DataFrame.write_parquet, {"row_group_size": FILE_ROWS // 2}),
    "arrow": (pl.DataFrame.write_ipc, {"compat_level": pl.CompatLevel.oldest()}),
    "csv": (pl.DataFrame.write_csv, {}),
    "jsonl": (pl.DataFrame.write_ndjson, {}),
}
SCHEMA = pathlib.Path(__file__).with_suffix(".yaml").read_text()


def measure(options: Options) -> Measured:
    rows = QUICK if options.quick else ROWS
    lines, goals = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "log.yaml").write_text(SCHEMA)
        for kind in WRITERS:
            write(folder / kind, kind, rows)
            one, two = (apart("logs", str(folder), kind, n) for n in ("1", "2"))
            lines.append({"what": f"{kind}, prepared on one core", **one})
            lines.append({"what": f"{kind}, prepared on two cores", **two})
            rate, seconds = one["a second of a core"], rows / two["a second"]
            goals += [
                Goal(f"{kind} on one core, rows/s", WANTED_RATES[kind], rate),
                Goal(f"{kind} on two cores, s", WANTED_SECONDS[kind], seconds, at_least=False),
                Goal(f"{kind}, peak MB", WANTED_MB, two["peak MB"], at_least=False),
            ]
    return Measured("Rows a second", lines, goals)


def write(folder: pathlib.Path, kind: str, rows: int) -> None:
    """Writes a log in files of FILE_ROWS rows."""
    folder.mkdir()
    for place in range(-(-rows // FILE_ROWS)):
        frame = columns(min(FILE_ROWS, rows - place * FILE_ROWS), place)
        path = folder / f"part-{place:03d}.{kind}"
        write_as, options = WRITERS[kind]
        write_as(frame, path, **options)


def columns(rows: int, day: int) -> pl.DataFrame:
    """A day's rows: 10 million users and a million items, of which a few are frequent."""
    rng = np.random.default_rng(day)
    user = (rng.pareto(1.1, rows) * 50_000).astype(np.int64) % 10_000_000
    item = (rng.pareto(1.05, rows) * 5_000).astype(np.int64) % 1_000_000
    click = rng.random(rows) < 0.2
    cart = click & (rng.random(rows) < 0.3)
    second = np.sort(rng.integers(0, 86_400, rows)) + 86_400 * day + 1_772_323_200
    frame = pl.DataFrame(
        {
            "user": user,
            "item": item,
            "session": rng.integers(0, 20_000_000, rows),
            "query": rng.integers(0, 300_000, rows),
            "city": rng.integers(0, 2000, rows),
            "device": rng.choice(["ios", "android", "web", "tv"], rows),
            "system": rng.choice(["14", "15", "16"], rows),
            "language": rng.integers(0, 40, rows),
            "position": rng.integers(0, 50, rows),
            "price": np.exp(rng.normal(3, 1, rows)).round(2),
            "discount": rng.random(rows).round(2),
            "age": rng.integers(10, 90, rows),
            "rate": rng.random(rows, np.float32),
            "t": pl.Series(second * 1_000_000).cast(pl.Datetime("us")),
            "click": click.astype(np.int8),
            "cart": cart.astype(np.int8),
            "order": (cart & (rng.random(rows) < 0.5)).astype(np.int8),
        }
    )
    return frame.with_columns(
        pl.format("q{}", "query").alias("query"),
        pl.format("l{}", "language").alias("language"),
        shop=pl.format("shop-{}", pl.col("item") % 50_000),
        category=pl.col("item") % 800,
        brand=pl.col("item") % 9_000,
    )


def alone(place: str, name: str, cores: str) -> dict[str, float]:
    """A rate by wall and by CPU time, and the most memory that this process has held."""
    folder = pathlib.Path(place)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
    with Clock() as clock:
        prepared = logs.prepare(folder / "log.yaml", str(folder / name), folder / f"{name}_{cores}")
    count = sum(prepared.rows.values())
    rates = {"a second": count / clock.wall, "a second of a core": count / clock.cpu}
    return rates | {"peak MB": peak_mb()}


def exported(folder: pathlib.Path, name: str, argument: str, rows: int) -> pathlib.Path:
    """A model of such a log, of so many rows, trained for a few steps; its folder."""
    schema, log = folder / f"{name}.yaml", folder / f"{name}.parquet"
    schema.write_text(SCHEMA)
    columns(rows, 0).write_parquet(log)
    logs.prepare(schema, str(log), folder / f"{name}_set")
    config = logs_config.get_config(f"{argument},schema={schema},quick")
    config.data.data_dir, config.parallel.devices = str(folder / f"{name}_set"), 1
    config.data.batch_size = 256
    config.train.max_steps = config.train.eval_every = 2
    train(config, folder / f"{name}_run")
    return export_run([folder / f"{name}_run"], folder / name, say=lambda _: None)


if __name__ == "__main__":
    print(json.dumps(alone(*sys.argv[1:])))
