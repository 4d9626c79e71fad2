"""Sequence fields of logs: the newest values in their order, in the table of the item at hand."""

import json

import numpy as np
import polars as pl
import pytest
from shop_log import prepared

from dtn_jax.datasets.logs import keys
from dtn_jax.datasets.logs.fit import vocabulary_file
from dtn_jax.datasets.logs.fit.merge import VOCABULARY
from dtn_jax.input.reader import SplitReader

ROWS = 300
SCHEMA = """
name: shop
fields:
  item: {min_count: 2, unknown: [none]}
  viewed: {kind: sequence, target: item, max_values: 4}
tasks: [click]
split: {by: column, column: part}
"""
HASHED = SCHEMA.replace("min_count: 2,", "encoder: hash, size: 1000,")


def log():
    """Of items a to j; `none` and what train shows once are unknown, and some lists are missing."""
    rng = np.random.default_rng(0)
    names = [*"abcdefghij", "none"]
    viewed = [[names[i] for i in rng.integers(0, 11, n)] for n in rng.integers(0, 9, ROWS)]
    viewed[5], viewed[6] = None, ["once", "a"]
    return pl.DataFrame(
        {
            "item": [names[i] for i in rng.integers(0, 10, ROWS)],
            "viewed": viewed,
            "click": np.arange(ROWS) % 2,
            "part": np.repeat(["train", "validation", "test"], ROWS // 3),
        }
    )


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sequences")
    (folder / "hash").mkdir()
    found = {"vocabulary": prepared(folder, log(), SCHEMA)}
    return found | {"hash": prepared(folder / "hash", log(), HASHED)}


@pytest.mark.parametrize("encoder", ["vocabulary", "hash"])
def test_the_newest_values_stand_in_their_order_by_the_items_own_rows(sets, encoder):
    data = sets[encoder]
    item, viewed = data.schema.fields
    assert (viewed.kind, viewed.table, viewed.target) == ("sequence", "item", "item")
    assert (viewed.slots, viewed.rows, viewed.pooling) == (4, item.rows, "mean")
    assert data.schema.tables() == {"item": item.rows}
    row = rows_of(data, encoder)
    for n, split in enumerate(("train", "validation", "test")):
        part = log()[n * ROWS // 3 : (n + 1) * ROWS // 3]
        expected = []
        for now, past in zip(part["item"].to_list(), part["viewed"].to_list()):
            newest = [row[v] for v in (past or [])[-4:]]
            expected.append((row[now], *newest, *[-1] * (4 - len(newest))))
        ids = np.asarray(SplitReader(data, split).everything().ids)
        assert sorted(map(tuple, ids.tolist())) == sorted(expected)


def rows_of(data, encoder):
    """{value: its row}, by what the set keeps of its items."""
    values = [*"abcdefghij", "once"]
    made, _ = keys.keys(pl.Series(values))
    if encoder == "hash":
        found = 1 + keys.hashed_rows(made, 1000, 0)
    else:
        path = vocabulary_file.path_of(data.folder / VOCABULARY, "item")
        found = vocabulary_file.load(path).look_up(made)
        assert found[-1] == 0  # which train shows once
    return {**dict(zip(values, found.tolist())), "none": 0}


def test_what_is_cut_is_counted(sets):
    cut = json.loads((sets["vocabulary"].folder / "prepared.json").read_text())["cut_values"]
    lists = [len(v) for v in log()["viewed"][: ROWS // 3].to_list() if v]
    assert cut["train"]["viewed"] == sum(max(n - 4, 0) for n in lists)
