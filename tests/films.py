"""A small data set with vector fields, some of whose vectors are missing."""

import functools

import numpy as np
import polars as pl

from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.builder import BlockBuilder
from dtn_jax.datasets.preparation.encoders import Standardise, Vector, Vocabulary
from dtn_jax.schema import Task

K = 6
SOUND = "sound/left 1.0"  # a name that no path of a file holds as it is
CENTRE = np.array([3.0, -1, 0, 100, 2, 0.5])


class Films(BlockBuilder):
    """What a film shows decides whether one looks at it."""

    def encoders(self):
        return {
            "price": Standardise(),
            "content": Vector(K),
            "user": Vocabulary(),
            SOUND: Vector(2, standardise=False),
        }

    def tasks(self):
        return (Task("click"), Task("buy", also_report=("click",), upstream=("click",)))

    def layout(self):
        return Layout(lanes=4, block_rows=64)

    def raw(self, dl_manager):
        rows = {"train": 5000, "validation": 1000, "test": 1000}
        return {
            split: functools.partial(iter, [f[:300], f[300:]])
            for split, f in ((s, frame(seed, n)) for seed, (s, n) in enumerate(rows.items()))
        }


def frame(seed: int, count: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    content = rng.normal(size=(count, K))
    known = rng.random(count) < 0.9
    z = np.where(known, 2 * (content @ np.array([1, -1, 0.5, 1, 0, 0])), -1)
    click = rng.random(count) < 1 / (1 + np.exp(-z))
    lists = (content * np.arange(1, K + 1) + CENTRE).tolist()
    return pl.DataFrame(
        {
            "price": rng.normal(size=count),
            "content": pl.Series([v if k else None for v, k in zip(lists, known)]),
            "user": rng.integers(0, 20, count),
            SOUND: rng.normal(size=(count, 2)).astype(np.float32),
            "click": click.astype(np.int8),
            "buy": (click & (rng.random(count) < 0.5)).astype(np.int8),
        }
    )
