"""The groups of a batch's rows: those that are stored, however they are read, and only if asked."""

import dataclasses

import jax
import numpy as np
import pytest
from numbered_rows import stored_rows

from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.input import day_order
from dtn_jax.input.day_order import read_days
from dtn_jax.input.reader import SplitReader, in_order
from dtn_jax.input.resident import ResidentData
from dtn_jax.input.streamed import StreamedData

SIZE, ROWS = 24, 500


def group_of(ids):
    """Of the row with this id: unlike ones share a half of their numbers."""
    return (np.asarray(ids, np.int64) - 250) * (2**32 + 1)


@pytest.fixture
def data(monkeypatch):
    monkeypatch.setattr(day_order, "WINDOW_ROWS", 100)
    made = stored_rows(Layout(4, 8), ROWS, days=np.arange(ROWS) // 170)
    for record in made.stored("train"):
        record["group"] = group_of(record["ids"][:, 0])
    return dataclasses.replace(made, schema=dataclasses.replace(made.schema, group="user"))


def check(batch):
    group, ids = np.array(batch.group), np.asarray(batch.ids[..., 0])
    assert (group.dtype, group.shape) == (np.int32, (*ids.shape, 2))
    assert (ids >= 0).sum() > 200
    numbers = group.view(np.int64)[..., 0]
    np.testing.assert_array_equal(numbers[ids >= 0], group_of(ids[ids >= 0]))


@pytest.mark.parametrize("by_day", [False, True])
def test_a_row_has_its_group_wherever_it_is_read(data, by_day):
    days = read_days(data, "train") if by_day else None
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    sources = [
        ResidentData(data, "train", device, days=days, grouped=True),
        StreamedData(data, "train", 1, days, grouped=True),
    ]
    for source in sources:
        chunk = source.chunk(3, 0, 2, 12, SIZE)
        check(jax.tree.map(lambda a: a[:12], chunk))
        source.close()


def test_who_does_not_ask_has_none(data):
    assert SplitReader(data, "train").everything().group is None
    assert StreamedData(data, "train", 1).chunk(3, 0, 0, 4, SIZE).group is None
    assert next(in_order(data, "train", SIZE)).group is None
