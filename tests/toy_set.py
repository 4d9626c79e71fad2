"""A data set of thirty rows."""

import functools

import polars as pl

from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.builder import BlockBuilder
from dtn_jax.schema import Task


class Toy(BlockBuilder, skip_registration=True):
    """Thirty rows of two fields."""

    def encoders(self):
        return {"word": enc.Vocabulary(), "size": enc.QuantileBuckets()}

    def tasks(self):
        return (Task("click"),)

    def layout(self):
        return Layout(lanes=2, block_rows=4)

    def raw(self, dl_manager):
        n = 30
        words = pl.Series(["a", "b", "c"] * (n // 3))
        frame = pl.DataFrame({"word": words, "size": range(n), "click": [0, 1] * (n // 2)})
        return {s: functools.partial(iter, [frame]) for s in ("train", "validation", "test")}
