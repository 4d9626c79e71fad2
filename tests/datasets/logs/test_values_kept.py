"""Which values of a list are kept."""

import numpy as np
import polars as pl
import pytest
from shop_log import prepared

from dtn_jax.datasets.logs.fit import shown_values
from dtn_jax.input.reader import SplitReader

ROWS = 600
BAG = "kind: bag, max_values: 5, weights: seen_at"
SCHEMA = f"""
name: shop
fields:
  seen: {{{BAG}}}
  id: {{encoder: hash, size: 1e5, functions: 2}}
  query: {{encoder: hash, size: 50, functions: 2}}
  query_x_id: {{cross: [query, id], encoder: hash, size: 90}}
  tags: {{kind: bag, encoder: hash, size: 50, functions: 2}}
  row: {{column: id}}
tasks: [click]
split: {{by: column, column: part}}
"""


def log():
    """Histories of 200 that ascend, ids that occur once, and a query in two rows of three."""
    n = np.arange(ROWS)
    seen = [list(range(row % 3, row % 3 + 200)) for row in range(ROWS)]
    return pl.DataFrame(
        {
            "seen": seen,
            "seen_at": [[float(v) for v in row] for row in seen],
            "id": n,
            "query": [None if row % 3 == 0 else f"q{row % 7}" for row in range(ROWS)],
            "tags": [[None, "a", "b"]] * ROWS,
            "click": n % 2,
            "part": np.array(["train", "validation", "test"])[np.maximum(n // 150 - 1, 0)],
        }
    )


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    return prepared(folder, log(), SCHEMA), folder


def kept(data, split):
    """{the values of a row's bag: their weights}, as numbers."""
    batch = SplitReader(data, split).everything()
    slots = [i for i, f in enumerate(data.schema.slot_fields()) if f.name == "seen"]
    ids = np.asarray(batch.ids)[:, slots]
    names = shown_values.fields(data.folder)["seen"].names(sorted(set(ids.ravel().tolist())))
    values = [tuple(int(names[i]) for i in row) for row in ids.tolist()]
    return dict(zip(values, np.asarray(batch.weights).tolist(), strict=True))


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_bag_keeps_its_first_or_its_last_values_and_their_weights(split, shop, tmp_path):
    assert sorted(kept(shop[0], split)) == [tuple(range(n, n + 5)) for n in range(3)]
    last = prepared(tmp_path, log(), SCHEMA.replace(BAG, f"{BAG}, keep: last"))
    found = kept(last, split)
    assert sorted(found) == [tuple(range(n + 195, n + 200)) for n in range(3)]
    assert all(list(values) == weights for values, weights in found.items())
