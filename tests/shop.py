"""A small data set whose frames are given, and its encoders."""

import functools
import pathlib

import numpy as np
import polars as pl

from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.builder import BlockBuilder
from dtn_jax.datasets.preparation.prepared import read
from dtn_jax.schema import Task

ENCODERS = {
    "word": enc.Vocabulary(),
    "size": enc.QuantileBuckets(),
    "speed": enc.Standardise(),
    "id": enc.Identity(5),
}
TASKS = (Task("click"), Task("seconds", "regression"))


class Shop(BlockBuilder, skip_registration=True):
    """A small set whose frames are given."""

    weight = "w"

    def __init__(self, splits, **kwargs):
        self.splits = splits
        super().__init__(**kwargs)

    def encoders(self):
        return ENCODERS

    def tasks(self):
        return TASKS

    def layout(self):
        return Layout(lanes=3, block_rows=4)

    def notes(self):
        return {"shops": 1}

    def raw(self, dl_manager):
        return {split: functools.partial(iter, frames) for split, frames in self.splits.items()}


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
    assert len(records) == len(sizes)
    assert all(len(r["ids"]) == data.layout.block_rows for r in records)
    return {
        k: np.concatenate([r[k][:n] for r, n in zip(records, sizes, strict=True)])
        for k in records[0]
    }
