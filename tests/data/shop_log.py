"""A log of a shop: what its rows are, its schema file, and its folder."""

import datetime
import pathlib

import numpy as np
import polars as pl

from dtn_jax.datasets.logs import prepare as logs
from dtn_jax.datasets.logs.fit import shards
from dtn_jax.datasets.logs.raw import units

SCHEMA = """
name: shop
fields:
  user: {min_count: 2}
  item: {table: item, min_count: 2}
  seen: {kind: bag, table: item, min_count: 2, max_values: 3, weights: seen_weights}
  hour: {value: hour(t)}
  price: {kind: numeric, log: true, buckets: 8}
  speed: {kind: numeric, encoder: standardise}
  embedding: {kind: vector, length: 3}
  query: {encoder: hash, size: 50, functions: 2}
  user_x_hour: {cross: [user, hour], encoder: hash, size: 40}
tasks:
  click:
  order: {upstream: [click], also_report: [click]}
  watch: {kind: regression, label: log1p(seconds), known: click == 1}
group: user
time: t
"""


def rows(count: int, seed: int = 0) -> pl.DataFrame:
    """Rows over ten days, in order of time."""
    rng = np.random.default_rng(seed)
    seen = [rng.integers(0, 30, rng.integers(0, 5)).tolist() for _ in range(count)]
    weights = [[0.5 + n for n in bag] for bag in seen]
    click = rng.integers(0, 2, count)
    start = datetime.datetime(2026, 3, 1)
    day = np.sort(rng.integers(0, 10 * 86_400, count)).tolist()
    vectors = rng.normal(size=(count, 3)).round(3).tolist()
    for missing in range(0, count, 7):
        vectors[missing] = None
    return pl.DataFrame(
        {
            "t": [start + datetime.timedelta(seconds=s) for s in day],
            "user": rng.integers(0, 40, count),
            "item": rng.zipf(1.5, count) % 30,
            "seen": pl.Series(seen, dtype=pl.List(pl.Int64)),
            "seen_weights": pl.Series(weights, dtype=pl.List(pl.Float64)),
            "price": np.exp(rng.normal(2, 1, count)).round(2),
            "speed": rng.normal(5, 2, count),
            "embedding": pl.Series(vectors, dtype=pl.List(pl.Float64)),
            "query": [f"q{n}" for n in rng.integers(0, 200, count)],
            "click": click,
            "order": click * rng.integers(0, 2, count),
            "seconds": rng.exponential(20, count),
        }
    )


def write(folder: pathlib.Path, frame: pl.DataFrame, files: int = 3, group: int = 100) -> str:
    """Writes a log as Parquet files; returns their glob."""
    folder.mkdir(parents=True, exist_ok=True)
    each = -(-len(frame) // files)
    for place in range(files):
        part = frame[place * each : (place + 1) * each]
        part.write_parquet(folder / f"part-{place:03d}.parquet", row_group_size=group)
    return str(folder / "*.parquet")


def schema_file(folder: pathlib.Path, text: str = SCHEMA, name: str = "shop.yaml") -> pathlib.Path:
    """Writes a schema file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text)
    return path


def small_pieces(monkeypatch) -> None:
    """Units and shards of a few hundred rows, so that a small log has many."""
    monkeypatch.setattr(units, "ROWS", 200)
    monkeypatch.setattr(shards, "LEAST_ROWS", 300)


def prepared(folder: pathlib.Path, frame: pl.DataFrame, text: str = SCHEMA, **options):
    """The prepared set of a log, in one process."""
    source = write(folder / "raw", frame)
    options = {"processes": 1} | options
    return logs.prepare(schema_file(folder, text), source, folder / "data", **options)


def everything(folder: pathlib.Path) -> dict[str, bytes]:
    """{name: content} of all files below a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
