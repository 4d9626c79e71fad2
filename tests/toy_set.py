"""A data set of thirty rows."""

import polars as pl

from dtn_jax.data.blocks import Layout
from dtn_jax.data.sets.data_set import DataSet


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
