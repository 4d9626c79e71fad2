"""By days: what is streamed is what lies on the device, from any step; groups go with rows."""

import dataclasses

import jax
import numpy as np
import pytest
from numbered_rows import stored_rows

from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.input import day_order
from dtn_jax.input.batches import CHUNK_STEPS
from dtn_jax.input.day_order import read_days
from dtn_jax.input.reader import SplitReader, in_order, part_of
from dtn_jax.input.resident import ResidentData
from dtn_jax.input.streamed import StreamedData

SEED, SIZE, ROWS = 7, 24, 1531
LAYOUTS = [Layout(4, 8), Layout(6, 16)]


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch):
    monkeypatch.setattr(day_order, "WINDOW_ROWS", 100)  # no multiple of a batch, nor of a block


def dated(layout, rows=ROWS, days=5):
    of = np.sort(np.random.default_rng(1).integers(0, days, rows))
    of[200:400] = of[200:400][::-1]  # some come late
    return stored_rows(layout, rows, days=of)


def rows_of(batch):
    """The rows' numbers; -1 is padding."""
    ids, mask = np.asarray(batch.ids[..., 0]), np.asarray(batch.row_mask)
    np.testing.assert_array_equal(ids >= 0, mask)
    np.testing.assert_array_equal(np.asarray(batch.labels)[mask][:, 0], ids[mask] / 2)
    return np.where(mask, ids - 1, -1)


def expected(data, size=SIZE, epochs=2):
    days = read_days(data, "train")
    return np.concatenate([np.stack(list(days.batch_rows(SEED, e, size))) for e in range(epochs)])


def steps(source, start, stop, per_epoch, size=SIZE, most=CHUNK_STEPS):
    """The rows' numbers `[steps, B]` of a source of chunks."""
    found = []
    while start < stop:
        epoch, position = divmod(start, per_epoch)
        count = min(most, per_epoch - position, stop - start)
        chunk = source.chunk(SEED, epoch, position, count, size)
        found.append(rows_of(part_of(chunk, 0, count)))
        start += count
    source.close()
    return np.concatenate(found)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [SIZE, 300])  # several batches to a window, and the other way
def test_streamed_equals_resident_and_the_order(layout, size):
    data, device = dated(layout), jax.sharding.SingleDeviceSharding(jax.devices()[0])
    days, whole = read_days(data, "train"), expected(data, size)
    per_epoch = len(whole) // 2
    resident = ResidentData(data, "train", device, days=days)
    streamed = StreamedData(data, "train", 2, days)
    for source in (resident, streamed):
        np.testing.assert_array_equal(steps(source, 0, len(whole), per_epoch, size), whole)


@pytest.mark.parametrize("start", [1, 14, 65, 100])
def test_a_stream_begins_anywhere(start):
    data = dated(LAYOUTS[0])
    stream = StreamedData(data, "train", 2, read_days(data, "train"))
    whole = expected(data)
    got = steps(stream, start, len(whole), len(whole) // 2, most=5)
    np.testing.assert_array_equal(got, whole[start:])


def test_a_day_alone_in_another_layout_has_the_same_rows_at_the_same_places():
    data = dated(Layout(4, 8))
    days = read_days(data, "train")
    begin, whole = days.begin(SIZE), expected(data, epochs=1)
    of = np.repeat(days.numbers, np.diff(days.starts))
    own = np.flatnonzero(of == 2)
    alone = stored_rows(Layout(3, 5), len(own), days=of[own])
    stream = StreamedData(alone, "train", 1, read_days(alone, "train"))
    count = begin[3] - begin[2]
    got = steps(stream, 0, int(count), int(count))
    np.testing.assert_array_equal(np.where(got < 0, -1, own[got]), whole[begin[2] : begin[3]])


@pytest.mark.parametrize("processes", [3, 8])
def test_processes_have_the_rows_of_one(processes, monkeypatch):
    data = dated(LAYOUTS[0])
    whole, parts = expected(data), []
    days = read_days(data, "train")  # to which processes would come together
    for index in range(processes):
        monkeypatch.setattr(jax, "process_index", lambda index=index: index)
        monkeypatch.setattr(jax, "process_count", lambda: processes)
        stream = StreamedData(data, "train", 2, days)
        parts.append(steps(stream, 3, len(whole), len(whole) // 2))
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole[3:])


def test_a_stream_goes_on_into_the_next_epoch_without_a_stop(monkeypatch):
    data = dated(LAYOUTS[0])
    stream = StreamedData(data, "train", 2, read_days(data, "train"))
    per_epoch, whole = len(expected(data)) // 2, expected(data)
    with monkeypatch.context() as patch:
        patch.setattr(stream, "close", lambda: None)
        steps(stream, 0, per_epoch, per_epoch)
    assert stream.at == (SEED, 1, 0, SIZE)
    np.testing.assert_array_equal(
        steps(stream, per_epoch, len(whole), per_epoch), whole[per_epoch:]
    )


def test_the_rows_of_a_day_are_scored_in_order(monkeypatch):
    data = dated(LAYOUTS[1])
    days = read_days(data, "train")
    of = np.repeat(days.numbers, np.diff(days.starts))
    for day in days.known:
        own = np.flatnonzero(of == day)
        parts = [
            np.stack([rows_of(b) for b in in_order(data, "train", 48, part, days.rows(day))])
            for part in (slice(0, 24), slice(24, 48))
        ]
        got = np.concatenate(parts, axis=1).ravel()
        np.testing.assert_array_equal(got[: len(own)], own)
        assert (got[len(own) :] == -1).all()


GROUPED = 500


def group_of(ids):
    """Of the row with this id: unlike ones share a half of their numbers."""
    return (np.asarray(ids, np.int64) - 250) * (2**32 + 1)


@pytest.fixture
def data():
    made = stored_rows(Layout(4, 8), GROUPED, days=np.arange(GROUPED) // 170)
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
