"""The epoch's order."""

import itertools

import numpy as np
import pytest

from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.errors import UserError
from dtn_jax.input.epoch_order import (
    batch_rows,
    epoch_window,
    rows_per_lane,
    steps_per_epoch,
    window_count,
    window_order,
)

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


def test_every_window_of_every_lane_is_shuffled_in_its_own_way():
    layout, rows = Layout(2, 4), 256
    windows = range(window_count(layout, rows))
    assert len(windows) == 2
    places = [
        window_order(layout, rows, 0, 0, window, [lane])[1] for window in windows for lane in (0, 1)
    ]
    for one, other in itertools.combinations(places, 2):
        assert (one != other).mean() > 0.9


def test_batch_size_must_be_divisible_by_the_lanes():
    with pytest.raises(UserError, match=r"batch_size=100 .* 8 lanes; the nearest: 96 and 104"):
        steps_per_epoch(Layout(8, 2), 1000, 100)


def test_the_nearest_batch_sizes_suit_the_devices_too():
    assert rows_per_lane(Layout(6, 2), 48, devices=8) == 8
    with pytest.raises(UserError, match=r"100 .* 6 lanes; the nearest on 8 devices: 96 and 120"):
        rows_per_lane(Layout(6, 2), 100, devices=8)
    with pytest.raises(UserError, match=r"16 .* 6 lanes; the nearest on 8 devices: 24$"):
        rows_per_lane(Layout(6, 2), 16, devices=8)


def test_the_order_of_a_known_epoch():
    """Written down when it was first made: if it changes, runs can't go on where they were."""
    first = next(batch_rows(Layout(4, 8), 1000, seed=3, epoch=1, batch_size=8))
    np.testing.assert_array_equal(first, [257, 295, 686, 488, 306, 791, 700, 669])


@pytest.mark.parametrize("rows", [64, 65, 100, 130])
@pytest.mark.parametrize("processes", [2, 4])
def test_every_process_has_as_many_steps_as_the_whole(rows, processes):
    """Also where the lanes with a row more all belong to others."""
    layout = Layout(4, 8)
    each = layout.lanes // processes
    for window in range(window_count(layout, rows)):
        whole = window_order(layout, rows, 0, 0, window, range(layout.lanes))[1]
        for process in range(processes):
            own = range(process * each, (process + 1) * each)
            assert window_order(layout, rows, 0, 0, window, own)[1].shape == (each, whole.shape[1])
