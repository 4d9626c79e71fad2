"""The epoch's order, and the two ways that bring it to the step."""

import jax
import numpy as np
import pytest

from dtn_jax.datasets import catalog
from dtn_jax.datasets.builder import Layout
from dtn_jax.input_pipeline import (
    CHUNK_STEPS,
    ResidentData,
    SplitReader,
    StreamedData,
    batch_rows,
    epoch_window,
    in_order,
    steps_per_epoch,
    take,
    window_count,
)
from dtn_jax.schema import UserError

LAYOUTS = [(Layout(1, 4), 7), (Layout(4, 8), 1000), (Layout(8, 2), 531), (Layout(4, 8), 3)]


@pytest.mark.parametrize(("layout", "rows"), LAYOUTS)
def test_an_epoch_holds_every_row_once(layout, rows):
    batch = 2 * layout.lanes
    steps = list(batch_rows(layout, rows, seed=3, epoch=1, batch_size=batch))
    assert all(len(s) == batch for s in steps)
    assert len(steps) == steps_per_epoch(layout, rows, batch)
    numbers = np.concatenate(steps)
    assert sorted(numbers[numbers >= 0]) == list(range(rows))
    for step in steps[:-1]:  # lanes differ by one row at most: only the end is padded
        assert (step < 0).sum() <= layout.lanes


@pytest.mark.parametrize(("layout", "rows"), LAYOUTS)
def test_a_batch_takes_the_same_number_of_rows_from_every_lane(layout, rows):
    blocks = layout.blocks(rows)
    lane_of = np.repeat(np.arange(len(blocks)) % layout.lanes, blocks)
    for step in batch_rows(layout, rows, seed=0, epoch=0, batch_size=3 * layout.lanes):
        lanes = step.reshape(layout.lanes, 3)
        for lane, numbers in enumerate(lanes):
            assert (lane_of[numbers[numbers >= 0]] == lane).all()


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        return np.stack(list(batch_rows(Layout(4, 8), 1000, seed, epoch, 32)))

    np.testing.assert_array_equal(order(0, 0), order(0, 0))
    assert (order(0, 0) != order(0, 1)).mean() > 0.9
    assert (order(0, 0) != order(1, 0)).mean() > 0.9


def test_rows_of_a_lane_are_permuted_beyond_their_block():
    layout = Layout(2, 4)  # 16 blocks of a lane are one window of 64 rows
    window = epoch_window(layout, 128, seed=0, epoch=0, window=0)
    assert window.shape == (2, 64)
    assert window_count(layout, 128) == 1
    neighbours = np.abs(np.diff(window[0]))
    assert (neighbours > layout.block_rows).mean() > 0.5


def test_batch_size_must_be_divisible_by_the_lanes():
    with pytest.raises(UserError, match=r"batch_size=100 .* 8 lanes; the nearest: 96 and 104"):
        steps_per_epoch(Layout(8, 2), 1000, 100)


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


def test_a_stream_goes_on_anywhere(adult):
    whole = StreamedData(adult, "train")
    first = [jax.tree.map(np.array, whole.chunk(0, 2, s, 4, 512)) for s in (0, 4, 8)]
    again = StreamedData(adult, "train").chunk(0, 2, 8, 4, 512)
    np.testing.assert_array_equal(first[2].ids[:4], again.ids[:4])


def test_rows_at_any_order_with_padding(adult):
    reader = SplitReader(adult, "validation")
    everything = reader.everything()
    numbers = np.asarray([[700, 3], [-1, 129]])
    got = reader.rows_at(numbers)
    assert got.ids.shape == (2, 2, adult.schema.slots)
    np.testing.assert_array_equal(got.ids[0, 0], everything.ids[700])
    np.testing.assert_array_equal(got.labels[1, 1], everything.labels[129])
    np.testing.assert_array_equal(got.row_mask, [[True, True], [False, True]])
    assert (got.ids[1, 0] == -1).all()


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
