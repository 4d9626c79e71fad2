"""A small data set whose frames are given."""

import pathlib
from typing import ClassVar

import numpy as np
import polars as pl

from dtn_jax.data.blocks import Layout
from dtn_jax.data.prepared import read
from dtn_jax.data.sets.data_set import DataSet


class Shop(DataSet):
    """A small set whose frames are given."""

    name = "shop"
    layout = Layout(lanes=3, block_rows=4)
    notes: ClassVar = {"shops": 1, "account": ["one shop"]}
    schema = """
        fields:
          word:
          size: {kind: numeric}
          speed: {kind: numeric, encoder: standardise}
          id: {encoder: identity, size: 5}
        tasks:
          click: {known: not missing(click)}
          seconds: {kind: regression, known: not missing(seconds)}
        weight: w
        split: {by: column, column: _split}
    """

    def __init__(self, splits, **kwargs):
        self.splits = splits
        super().__init__(**kwargs)

    def raw(self, files):
        return {split: iter(frames) for split, frames in self.splits.items()}


def shop_frame(rows, seed):
    rng = np.random.default_rng(seed)
    seconds = rng.normal(size=rows)
    seconds[::5] = np.nan
    click = pl.Series(rng.integers(0, 2, rows)).set(pl.Series(rng.random(rows) < 0.2), None)
    return pl.DataFrame(
        {
            "w": rng.integers(1, 4, rows),
            "id": rng.integers(0, 7, rows),
            "word": rng.choice(["a", "b", "c"], rows),
            "size": rng.integers(0, 9, rows),
            "speed": rng.normal(size=rows),
            "click": click,
            "seconds": seconds,
            "ignored": ["x"] * rows,
        }
    )


def shop_splits():
    """{split: frames}; test has words that train lacks."""
    sizes = {"train": 101, "validation": 24, "test": 7}
    frames = {s: shop_frame(n, seed) for seed, (s, n) in enumerate(sizes.items())}
    new = pl.Series("word", ["new", "b", None, "a", "a", "a", "other"])
    return {
        "train": [frames["train"][:40], frames["train"][40:40], frames["train"][40:]],
        "validation": [frames["validation"]],
        "test": [frames["test"].with_columns(new)],
    }


def prepare(splits, folder):
    builder = Shop(splits, data_dir=str(folder))
    builder.download_and_prepare()
    return read(pathlib.Path(builder.data_dir))


def rows_of(data, split):
    """The split's arrays, read back and joined."""
    records = list(data.source(split))
    sizes = data.layout.blocks(data.rows[split])
    assert [len(r["ids"]) for r in records] == sizes
    return {k: np.concatenate([r[k] for r in records]) for k in records[0]}
