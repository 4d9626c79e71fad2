"""A small log with every kind of column, ways to damage it, and what must not be harmed by it."""

import copy
import datetime
import functools
import json
import pathlib
import shutil

import numpy as np
import polars as pl

from dtn_jax.datasets.logs.fit import shards
from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.datasets.logs.raw import units
from dtn_jax.datasets.preparation.prepared import read

ROWS = 2_000
SCHEMA = """
name: shop
fields:
  user:
  item: {min_count: 2}
  price: {kind: numeric}
  age: {kind: numeric, encoder: standardise}
  tags: {kind: bag, weights: tag_weights, longest: 4}
  vec: {kind: vector, length: 3}
  hour: {value: hour(t)}
tasks:
  click:
  order: {space: click, upstream: [click], known: click == 1}
  watch: {kind: regression, range: [0, 100]}
time: t
group: user
weight: w
"""
FLAT = """
name: shop
fields:
  user:
  item: {min_count: 2}
  price: {kind: numeric}
  age: {kind: numeric, encoder: standardise}
tasks:
  click:
  order: {space: click, upstream: [click], known: click == 1}
  watch: {kind: regression, range: [0, 100]}
time: t
group: user
weight: w
split: {by: column, column: part}
"""
LISTS = ("tags", "tag_weights", "vec")


@functools.cache
def columns(rows=ROWS):
    """The columns of the log, as lists of Python's values, which nobody may change."""
    draw = np.random.default_rng(7)
    start = datetime.datetime(2026, 3, 1)
    click = (draw.random(rows) < 0.4).astype(int)
    tags = [draw.integers(1, 30, n).tolist() for n in draw.integers(0, 4, rows)]
    part = draw.choice(["train", "validation", "test"], rows, p=[0.8, 0.1, 0.1])
    return {
        "user": draw.integers(1, 90, rows).tolist(),
        "item": [f"item {n}" for n in draw.integers(0, 50, rows)],
        "price": draw.gamma(2.0, 10.0, rows).round(2).tolist(),
        "age": draw.integers(18, 80, rows).astype(float).tolist(),
        "tags": tags,
        "tag_weights": [[0.5 + n for n in range(len(of))] for of in tags],
        "vec": draw.normal(size=(rows, 3)).round(3).tolist(),
        "t": [start + datetime.timedelta(minutes=20 * n) for n in range(rows)],
        "click": click.tolist(),
        "order": np.where(draw.random(rows) < 0.3, click, 0).tolist(),
        "watch": draw.uniform(0, 60, rows).round(1).tolist(),
        "w": draw.uniform(0.5, 2.0, rows).round(2).tolist(),
        "part": part.tolist(),
    }


def frame(changed=None, rows=ROWS):
    """The log as a frame; `changed` is {column: {row, from 0 on: value}}.

    A column becomes text where it then needs to.
    """
    found = dict(columns(rows))
    for name, values in (changed or {}).items():
        found[name] = list(found[name])
        for row, value in values.items():
            found[name][row] = value
        kinds = {type(value) for value in found[name]} - {type(None)}
        if str in kinds and len(kinds) > 1:
            found[name] = [v if v is None else str(v) for v in found[name]]
        inner = {type(v) for value in found[name] if isinstance(value, list) for v in value}
        if str in inner and len(inner) > 1:
            found[name] = [v if v is None else [str(x) for x in v] for v in found[name]]
    return pl.DataFrame(found, strict=False)


def write(path, data=None):
    """A file of the log in the format that its suffix says; text files have no lists."""
    data = frame() if data is None else data
    if path.suffix == ".parquet":
        data.write_parquet(path, row_group_size=400)
    elif path.suffix == ".arrow":
        data.write_ipc(path, compression="uncompressed")
    elif path.suffix == ".csv":
        data.drop(LISTS, strict=False).write_csv(path)
    else:
        data.with_columns(data["t"].cast(pl.String)).write_ndjson(path)
    return path


def small_pieces(monkeypatch, rows=400, size=20_000):
    """Cuts small logs into as many units and shards as large ones have."""
    monkeypatch.setattr(units, "ROWS", rows)
    monkeypatch.setattr(units, "BYTES", size)
    monkeypatch.setattr(shards, "LEAST_ROWS", 2 * rows)


def schema_file(folder, text=SCHEMA):
    path = pathlib.Path(folder) / "shop.yaml"
    path.write_text(text)
    return path


class Finished:
    """A data_dir with a finished set, which no later call may harm."""

    def __init__(self, folder, text=SCHEMA):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.data_dir = self.folder / "data"
        raw = write(self.folder / "good.parquet")
        made = prepare(schema_file(self.folder, text), str(raw), self.data_dir, processes=1)
        self.target = made.folder
        self.bytes = everything(self.target)

    def copied(self, folder):
        """The same in another folder: cheaper than to prepare it once more."""
        other = copy.copy(self)
        other.folder, other.data_dir = pathlib.Path(folder), pathlib.Path(folder) / "data"
        other.target = other.data_dir / self.target.relative_to(self.data_dir)
        shutil.copytree(self.data_dir, other.data_dir)
        return other

    def check(self):
        """The set is as it was, loads, and nothing that looks like another one is there."""
        assert everything(self.target) == self.bytes
        found = read(self.target)
        for split in found.rows:
            assert len(found.source(split)[0]["ids"])
        beside = {path.name for path in self.target.parent.iterdir()}
        allowed = {"1.0.0", "rejects.jsonl"}
        assert {n for n in beside if not n.startswith("unfinished-")} <= allowed, beside


def everything(folder):
    """{path below the folder: its bytes}."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def lines_of(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]
