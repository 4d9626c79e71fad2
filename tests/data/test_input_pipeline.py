"""The two ways that bring an epoch to the step, the rows for scoring, and work ahead."""

import threading
import time

import jax
import numpy as np
import pytest
from numbered_rows import stored_rows

from dtn_jax.datasets.preparation import catalog
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.errors import UserError
from dtn_jax.input.batches import CHUNK_STEPS, prefetched
from dtn_jax.input.epoch_order import batch_rows, steps_per_epoch, window_count
from dtn_jax.input.reader import SplitReader, in_order, take
from dtn_jax.input.resident import ResidentData
from dtn_jax.input.streamed import StreamedData


@pytest.fixture(autouse=True)
def _every_thread_ends():
    """That of a stream which is closed, came to its end, failed, or is merely forgotten."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("prefetch"):
            thread.join(120)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def adult(prepared_dir):
    return catalog.load("adult", data_dir=prepared_dir)


def chunks(source, steps, batch_size, cuts=()):
    """All batches of epoch 1 of seed 5, read in chunks that end at `cuts`."""
    found, start = [], 0
    ends = sorted({*cuts, *range(CHUNK_STEPS, steps, CHUNK_STEPS), steps})
    for end in ends:
        while start < end:
            count = min(CHUNK_STEPS, end - start)
            chunk = source.chunk(5, 1, start, count, batch_size)
            assert len(chunk.row_mask) == CHUNK_STEPS
            found.append(jax.tree.map(lambda a, n=count: np.array(a)[:n], chunk))
            start += count
    return jax.tree.map(lambda *a: np.concatenate(a), *found)


def test_streamed_equals_resident_and_the_rows_themselves(adult):
    size = 1024
    steps = steps_per_epoch(adult.layout, adult.rows["train"], size)
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    resident = chunks(ResidentData(adult, "train", device), steps, size)
    streamed = chunks(StreamedData(adult, "train"), steps, size, cuts=(3, 20))
    mask = resident.row_mask
    assert mask.sum() == adult.rows["train"]
    np.testing.assert_array_equal(mask, streamed.row_mask)
    np.testing.assert_array_equal(resident.ids, streamed.ids)
    assert (resident.ids[~mask] == -1).all()
    for name in ("labels", "label_mask", "sample_weight"):
        a, b = getattr(resident, name), getattr(streamed, name)
        np.testing.assert_array_equal(a[mask], b[mask])
    everything = SplitReader(adult, "train").everything()
    order = np.stack(list(batch_rows(adult.layout, adult.rows["train"], 5, 1, size)))
    expected = take(everything, order)
    np.testing.assert_array_equal(expected.ids, resident.ids)
    np.testing.assert_array_equal(expected.labels[mask], resident.labels[mask])


@pytest.mark.parametrize("size", [800, 8 * 3000])  # neither divides a window's rows; one exceeds
def test_rows_left_over_by_a_window_come_first_in_the_next(adult, size):
    layout, rows = adult.layout, adult.rows["train"]
    assert window_count(layout, rows) > 1
    everything = SplitReader(adult, "train").everything()
    order = np.stack(list(batch_rows(layout, rows, 5, 1, size)))
    expected = take(everything, order)
    steps = steps_per_epoch(layout, rows, size)
    for cuts in ((), (1, 2, steps - 1)):
        assert_same_rows(chunks(StreamedData(adult, "train"), steps, size, cuts), expected)


def assert_same_rows(got, expected):
    mask = expected.row_mask
    np.testing.assert_array_equal(got.row_mask, mask)
    np.testing.assert_array_equal(got.ids, expected.ids)
    np.testing.assert_array_equal(got.labels[mask], expected.labels[mask])
    np.testing.assert_array_equal(got.label_mask[mask], expected.label_mask[mask])


def test_a_stream_goes_on_into_the_next_epoch(adult, monkeypatch):
    """Without a stop: the next epoch's first window is read while this epoch ends."""
    size, rows = 1024, adult.rows["train"]
    steps = steps_per_epoch(adult.layout, rows, size)
    expected = StreamedData(adult, "train").chunk(5, 2, 0, 4, size)
    stream = StreamedData(adult, "train", epochs=3)
    chunks(stream, steps, size)
    assert stream.at == (5, 2, 0, size)
    monkeypatch.setattr(stream, "close", None)  # what a restart would call
    got = stream.chunk(5, 2, 0, 4, size)
    np.testing.assert_array_equal(got.ids, expected.ids)


def test_nothing_is_read_after_the_last_epoch(adult):
    size = 1024
    stream = StreamedData(adult, "train", epochs=2)
    chunks(stream, steps_per_epoch(adult.layout, adult.rows["train"], size), size)
    assert next(stream.windows, None) is None


def test_a_lane_without_rows():
    """Three rows on four lanes: the fourth gives padding alone."""
    layout, rows = Layout(4, 8), 3
    data = stored_rows(layout, rows)
    stream = StreamedData(data, "train")
    got = stream.chunk(0, 0, 0, 1, 8)
    order = next(batch_rows(layout, rows, 0, 0, 8))
    np.testing.assert_array_equal(got.ids[0, :, 0], np.where(order < 0, -1, order + 1))
    np.testing.assert_array_equal(got.row_mask[0], order >= 0)


@pytest.mark.parametrize(("rows", "share"), [(11, 0.5), (640, 0.2), (653, 0.99)])
def test_a_part_of_train_is_fixed_and_of_the_asked_size(rows, share):
    layout = Layout(4, 8)
    part = stored_rows(layout, rows).part_of_train(share)
    everything = SplitReader(part, "train").everything().ids[:, 0]
    assert len(everything) == part.rows["train"] == round(share * rows)
    assert len(set(everything)) == len(everything)
    assert set(everything) <= set(range(1, rows + 1))
    again = stored_rows(layout, rows).part_of_train(share)
    np.testing.assert_array_equal(everything, SplitReader(again, "train").everything().ids[:, 0])
    for seed in (0, 1):  # and a run's order is of these rows
        order = np.concatenate(list(batch_rows(layout, len(everything), seed, 0, 8)))
        stream = StreamedData(part, "train", epochs=1)
        steps = steps_per_epoch(layout, len(everything), 8)
        got = [stream.chunk(seed, 0, step, 1, 8).ids[0, :, 0] for step in range(steps)]
        np.testing.assert_array_equal(
            np.concatenate(got), np.where(order < 0, -1, everything[order])
        )


def test_a_part_of_train_is_spread_over_it():
    """Where rows lie in the order of time, their first part would not stand for all."""
    part = stored_rows(Layout(4, 8), 4 * 8 * 100).part_of_train(0.2)
    numbers = SplitReader(part, "train").everything().ids[:, 0]
    counts = np.histogram(numbers, bins=4, range=(1, 3200))[0]
    assert counts.min() > 100  # of 160 on average
    with pytest.raises(UserError, match="none of 100 train rows"):
        stored_rows(Layout(4, 8), 100).part_of_train(0.001)


def test_damaged_ids_are_named_where_they_are_read():
    data = stored_rows(Layout(2, 8), 600)
    data.source("train")[70]["ids"][3] = 7777
    with pytest.raises(UserError, match="field 'number': id 7777"):
        list(in_order(data, "train", 64))
    stream = StreamedData(data, "train")
    with pytest.raises(UserError, match="field 'number': id 7777"):  # in another thread
        for start in range(75):
            stream.chunk(0, 0, start, 1, 8)


@pytest.mark.parametrize("count", [7, 1013])
def test_picked_rows_come_from_their_blocks_alone(count, monkeypatch):
    monkeypatch.setattr("dtn_jax.input.reader.BLOCKS", 5)
    layout, rows = Layout(4, 8), 1013
    data = stored_rows(layout, rows)
    numbers = np.sort(np.random.default_rng(count).choice(rows, count, replace=False))
    got = SplitReader(data, "train").picked(numbers)
    np.testing.assert_array_equal(got.ids[:, 0], numbers + 1)
    np.testing.assert_array_equal(got.labels[:, 0], (numbers + 1) / 2)
    blocks = np.repeat(np.arange(len(layout.blocks(rows))), layout.blocks(rows))[numbers]
    assert data.notes["train"].taken == sorted(set(blocks))


def test_scoring_reads_the_rows_in_order_and_pads_the_last_batch(adult):
    batches = list(in_order(adult, "validation", 1000, slice(None)))
    assert [int(b.row_mask.sum()) for b in batches] == [
        1000,
        1000,
        1000,
        adult.rows["validation"] - 3000,
    ]
    ids = np.concatenate([b.ids[b.row_mask] for b in batches])
    np.testing.assert_array_equal(ids, SplitReader(adult, "validation").everything().ids)


def test_the_same_items_in_order():
    assert list(prefetched(iter(range(100)))) == list(range(100))
    assert list(prefetched(iter([]))) == []
    assert list(prefetched(iter([None, None]))) == [None, None]


def test_one_item_ahead_and_no_more():
    made, second = [], threading.Event()

    def items():
        for i in range(5):
            made.append(i)
            if i == 1:
                second.set()
            yield i

    ahead = prefetched(items())
    assert next(ahead) == 0
    assert second.wait(120)  # made without being asked for
    time.sleep(0.05)
    assert made == [0, 1]
    ahead.close()


def test_an_error_comes_where_its_item_would_have():
    def items():
        yield 1
        raise ValueError("the disk is gone")

    ahead = prefetched(items())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="the disk is gone"):
        next(ahead)


def test_forgetting_ends_the_thread():
    ahead = prefetched(iter(range(100)))
    next(ahead)
    del ahead
