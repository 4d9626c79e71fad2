"""The names of a log's ids are the values that they were made of."""

import shutil

import numpy as np
import pyarrow as pa
import pytest
from shop_log import prepared, rows

from dtn_jax.analysis.segments import names
from dtn_jax.datasets.logs.write import shown_values
from dtn_jax.input.reader import SplitReader

FRAME = rows(900)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("shop"), FRAME)


@pytest.fixture(scope="module")
def fields(shop):
    return shown_values.fields(shop.folder)


def train(shop, field):
    """The ids of a field in train, and the raw rows they come from."""
    slot = [f.name for f in shop.schema.slot_fields()].index(field)
    batch = SplitReader(shop, "train").everything()
    return batch.ids[:, slot], FRAME[: len(batch.ids)]


@pytest.mark.parametrize("part", [7, 1 << 20])
def test_a_vocabulary_s_rows_have_their_values(shop, fields, monkeypatch, part):
    monkeypatch.setattr(shown_values, "PART", part)
    for field in ("user", "item"):
        ids, raw = train(shop, field)
        named = names(fields[field], np.unique(ids).tolist())
        assert named[0] == "unknown"
        for row, value in zip(ids.tolist(), raw[field].to_list()):
            assert named[row] == str(value) or row == 0
    few = fields["item"].names([2, 5])
    assert sorted(few) == [2, 5]


def test_values_of_several_batches(shop, fields, tmp_path):
    """A large table's values were written a range of keys at a time."""
    ids = list(range(1, shop.schema.tables()["item"]))
    whole = fields["item"].names(ids)
    copy = shutil.copytree(shop.folder, tmp_path / "copy")
    path = copy / "vocabulary" / "item.values.arrow"
    table = pa.ipc.open_file(path.read_bytes()).read_all()
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    assert shown_values.fields(copy)["item"].names(ids) == whole
    assert len(set(whole.values())) == len(ids)


def test_buckets_are_spans_of_what_the_column_holds(shop, fields):
    ids, raw = train(shop, "price")
    named = names(fields["price"], ids.tolist())
    for row, price in zip(ids.tolist(), raw["price"].to_list()):
        low, _, high = named[row].partition(" to ")
        if high:
            assert float(low) * 0.999 <= price <= float(high) * 1.001


def test_rows_that_values_share_are_told_by_their_number(fields):
    assert fields["user_x_hour"].names([0, 3]) == {3: "row 3"}
    assert names(fields["query"], [0, 1]) == {0: "unknown", 1: "row 1"}
