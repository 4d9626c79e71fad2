"""A model of a set that extends another encodes raw rows as the set has them."""

import made_models
import numpy as np
import own_log
import polars as pl
import pytest

from dtn_jax import export
from dtn_jax.datasets.logs.prepare import prepare
from dtn_jax.export.write import encoder_files
from dtn_jax.input.reader import SplitReader

LATER = own_log.SCHEMA.replace("name: shop", "name: later")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The first log's set, the later log, its set, and the encoding of a model of that."""
    folder = tmp_path_factory.mktemp("log")
    old = own_log.prepared(folder, own_log.log(2000))
    frame = own_log.log(1500, seed=1).with_columns(pl.col("user") + 20, pl.col("speed") * 3)
    (folder / "later.yaml").write_text(LATER)
    data = prepare(folder / "later.yaml", frame, folder / "data", extend="shop")

    def write(place):
        place.rmdir()
        encoder_files.write(data, place)

    made_models.write_model(folder / "model", data.schema, write)
    return old, frame, data, export.load(folder / "model").encoding


@pytest.mark.parametrize("split", ["train", "test"])
def test_rows_are_encoded_as_they_were_prepared(made, split):
    _, frame, data, encoding = made
    found = encoding.encode(own_log.split_frames(frame)[split])
    stored = SplitReader(data, split).everything()
    np.testing.assert_array_equal(found.ids, stored.ids)
    np.testing.assert_array_equal(found.numeric, stored.numeric)
    new = [n for n in data.schema.field_names if data.notes["extends"]["ids"].get(n, {})]
    assert new == ["user", "item", "hour", "tags"]


def test_the_first_logs_rows_keep_their_ids(made):
    old, _, _, encoding = made
    rows = own_log.split_frames(own_log.log(2000))["test"]
    was = SplitReader(old, "test").everything()
    found = encoding.encode(rows)
    known = was.ids > 0
    np.testing.assert_array_equal(found.ids[known], was.ids[known])
    assert (found.ids[~known] != was.ids[~known]).any()  # what was rare then has a row now
    np.testing.assert_array_equal(found.numeric, was.numeric)
