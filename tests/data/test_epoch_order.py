"""The order of an epoch: of all rows, and day after day."""

import dataclasses
import itertools

import numpy as np
import pytest
from numbered_rows import stored_rows

from dtn_jax.data.blocks import Layout
from dtn_jax.data.epochs import day_order
from dtn_jax.data.epochs.day_order import WINDOW_ROWS, Days, read_days, steps_of
from dtn_jax.data.epochs.epoch_order import (
    batch_rows,
    rows_per_lane,
    steps_per_epoch,
    window_count,
    window_order,
)
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.errors import UserError

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


WINDOW = 64


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch):
    monkeypatch.setattr(day_order, "WINDOW_ROWS", WINDOW)


def log(rows=900, seed=0, scattered=True):
    """Days of a log that is roughly in the order of time, from before 1970 on."""
    rng = np.random.default_rng(seed)
    days = np.sort(rng.integers(0, 4, rows)) * 2 - 2
    return days[np.argsort(np.arange(rows) + scattered * rng.normal(0, 60, rows))]


def epoch(days, size=32, seed=3, number=1):
    return np.stack(list(Days.of(days).batch_rows(seed, number, size)))


@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize("scattered", [True, False])
def test_every_row_comes_once_day_after_day_and_no_batch_mixes_them(size, scattered):
    days = log(scattered=scattered)
    steps, found = epoch(days, size), Days.of(days)
    assert sorted(steps[steps >= 0]) == list(range(len(days)))
    of = [set(days[step[step >= 0]].tolist()) for step in steps]
    assert all(len(one) == 1 for one in of)
    assert [one.pop() for one in of] == np.repeat(found.known, found.steps(size)).tolist()
    padded = (steps < 0).any(axis=1)
    ends = found.begin(size)[1:] - 1
    assert set(np.flatnonzero(padded)) <= set(ends)  # only a day's last batch, at its end
    assert (np.diff((steps < 0).astype(int), axis=1) >= 0).all()
    assert len(steps) == found.steps_per_epoch(size) == sum(-(-c // size) for c in found.counts)


def test_rows_are_shuffled_within_windows_and_windows_within_the_day():
    steps = epoch(np.zeros(3 * WINDOW, int), size=WINDOW)
    order = [set(step // WINDOW) for step in steps]
    assert all(len(one) == 1 for one in order)  # a batch is a window here
    seen = {
        tuple(one.pop() for one in map(set, epoch(np.zeros(192, int), 64, s) // 64))
        for s in range(20)
    }
    assert len(seen) == 6  # every order of three windows
    places = [tuple(step % WINDOW) for step in steps]
    assert len(set(places)) == 3
    assert all(np.abs(np.diff(one)).mean() > WINDOW / 5 for one in places)


def test_the_order_depends_on_seed_epoch_and_day():
    def of(day=0, **changes):
        return epoch(np.full(1000, day), **changes)

    np.testing.assert_array_equal(of(), of())
    for other in (of(seed=4), of(number=2), of(day=1), of(day=-1)):
        assert (of() != other).mean() > 0.9


def test_the_order_of_a_known_day():
    """Written down when it was first made: if it changes, runs can't go on where they were."""
    steps = epoch(np.full(200, 19_090), size=8)
    np.testing.assert_array_equal(steps[0], [135, 165, 143, 186, 130, 168, 169, 170])
    assert WINDOW_ROWS == 65_536


def test_the_rows_of_a_day_between_any_two_places():
    days = log(300)
    for day in Days.of(days).known:
        rows, own = Days.of(days).rows(day), np.flatnonzero(days == day)
        assert len(rows) == len(own)
        for start in range(0, len(own), 7):
            for stop in (start + 1, start + 20, len(own) + 3):
                np.testing.assert_array_equal(rows.numbers(start, stop), own[start:stop])


def test_days_are_read_from_the_set_and_from_a_part_of_it():
    days = log(1013)
    data = stored_rows(Layout(4, 8), 1013, days=days)
    found = read_days(data, "train")
    np.testing.assert_array_equal(np.repeat(found.numbers, np.diff(found.starts)), days)
    assert found.counts.tolist() == [(days == day).sum() for day in found.known]
    assert steps_of(data, found, 30, 1) == found.steps_per_epoch(30)  # 4 lanes do not divide it
    part = data.part_of_train(0.3)
    some = read_days(part, "train")
    expected = days[SplitReader(part, "train").everything().ids[:, 0] - 1]
    np.testing.assert_array_equal(np.repeat(some.numbers, np.diff(some.starts)), expected)


def test_a_set_without_days_is_refused():
    data = stored_rows(Layout(4, 8), 100)
    assert data.days("train") is None
    with pytest.raises(UserError, match=r"data\.order=day: data set 's' in .* has no days\. Logs "):
        read_days(data, "train")
    with pytest.raises(UserError, match="batch_size=30 is not divisible by the set's 4 lanes"):
        steps_of(dataclasses.replace(data), None, 30, 1)
