"""A log with a history and what stands beside its items, its prepared set, and a model of it."""

import made_models
import numpy as np
import polars as pl

from dtn_jax.data.prepare import prepare

ROWS, MOST = 1500, 4
TEST = slice(1350, ROWS)  # a tenth, the newest
LISTS = ("viewed", "viewed_action", "viewed_gap")
SCHEMA = """
name: shop
fields:
  ago: {kind: sequence, beside: viewed, value: viewed_gap}
  item:
  viewed: {kind: sequence, target: item, max_values: 4}
  action: {kind: sequence, beside: viewed, value: viewed_action, encoder: hash, size: 20}
tasks: [click]
time: t
"""


def log():
    """Of up to 8 views a row, some of them of a missing item."""
    rng = np.random.default_rng(0)
    names, actions = [*(f"i{n}" for n in range(20)), None], ["look", "cart", "buy"]
    counts = rng.integers(0, 9, ROWS)
    return pl.DataFrame(
        {
            "t": np.arange(ROWS),
            "item": [names[i] for i in rng.integers(0, 20, ROWS)],
            "viewed": [[names[i] for i in rng.integers(0, 21, n)] for n in counts],
            "viewed_action": [[actions[i] for i in rng.integers(0, 3, n)] for n in counts],
            "viewed_gap": [rng.integers(0, 5, n).tolist() for n in counts],
            "click": rng.integers(0, 2, ROWS),
        }
    )


def prepared(folder):
    """The log's set; the schema file lies in `folder`, the set in `folder/data`."""
    (folder / "shop.yaml").write_text(SCHEMA)
    return prepare(folder / "shop.yaml", log(), folder / "data", processes=1)


def made(folder):
    """(the set, the folder of a model of it that nobody trained)."""
    data = prepared(folder)
    return data, made_models.log_model(data, folder / "model")
