"""A data set of thirty rows."""

import json
import pathlib

import polars as pl

from dtn_jax import checksums
from dtn_jax.datasets.data_set import DataSet
from dtn_jax.datasets.preparation import checked_files
from dtn_jax.datasets.preparation.blocks import Layout


def without_checksums(folder: pathlib.Path) -> pathlib.Path:
    """Makes a prepared set one as an earlier version would have prepared it."""
    (folder / checksums.NAME).unlink()
    path = folder / "prepared.json"
    facts = json.loads(path.read_text())
    assert facts.pop(checked_files.SEALED) is True
    path.write_text(json.dumps(facts, indent=1))
    return folder


class Toy(DataSet):
    """Thirty rows of two fields."""

    name = "toy"
    layout = Layout(lanes=2, block_rows=4)
    schema = """
        fields:
          word:
          size: {kind: numeric}
        tasks: [click]
        split: {by: column, column: _split}
    """

    def raw(self, files):
        n = 30
        words = pl.Series(["a", "b", "c"] * (n // 3))
        frame = pl.DataFrame({"word": words, "size": range(n), "click": [0, 1] * (n // 2)})
        return dict.fromkeys(("train", "validation", "test"), frame)
