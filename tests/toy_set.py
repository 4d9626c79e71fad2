"""A data set of thirty rows."""

import functools
import json
import pathlib

import polars as pl

from dtn_jax import checksums
from dtn_jax.datasets.preparation import checked_files
from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.builder import BlockBuilder
from dtn_jax.schema import Task


def without_checksums(folder: pathlib.Path) -> pathlib.Path:
    """Makes a prepared set one as an earlier version would have prepared it."""
    (folder / checksums.NAME).unlink()
    path = folder / "prepared.json"
    facts = json.loads(path.read_text())
    assert facts.pop(checked_files.SEALED) is True
    path.write_text(json.dumps(facts, indent=1))
    return folder


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
