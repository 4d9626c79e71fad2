"""The order of an epoch: of all rows and day after day; the blocks it reads; a part of train; and
how it is streamed, resident or scored, by one process or several."""

import dataclasses
import itertools
import math
import threading

import jax
import numpy as np
import polars as pl
import pytest
from numbered_rows import stored_rows

from dtn_jax.data.blocks import Layout, default_layout
from dtn_jax.data.epochs import day_order
from dtn_jax.data.epochs.batches import CHUNK_STEPS, prefetched
from dtn_jax.data.epochs.day_order import WINDOW_ROWS, Days, read_days, steps_of
from dtn_jax.data.epochs.epoch_order import (
    batch_rows,
    rows_per_lane,
    steps_per_epoch,
    window_count,
    window_order,
)
from dtn_jax.data.epochs.reader import SplitReader, in_order, part_of
from dtn_jax.data.epochs.resident import ResidentData
from dtn_jax.data.epochs.streamed import StreamedData
from dtn_jax.data.sets.data_set import hold_out
from dtn_jax.errors import UserError

LAYOUTS = [(Layout(1, 4), 7), (Layout(4, 8), 1000), (Layout(8, 2), 531), (Layout(4, 8), 3)]


@pytest.mark.parametrize(("layout", "rows"), LAYOUTS)
def test_an_epoch_holds_every_row_once_and_a_batch_as_many_of_every_lane(layout, rows):
    batch, blocks = 3 * layout.lanes, layout.blocks(rows)
    lane_of = np.repeat(np.arange(len(blocks)) % layout.lanes, blocks)
    steps = list(batch_rows(layout, rows, seed=3, epoch=1, batch_size=batch))
    assert len(steps) == steps_per_epoch(layout, rows, batch)
    numbers = np.concatenate(steps)
    assert sorted(numbers[numbers >= 0]) == list(range(rows))
    for step in steps:
        for lane, own in enumerate(step.reshape(layout.lanes, 3)):
            assert (lane_of[own[own >= 0]] == lane).all()
    for step in steps[:-1]:  # lanes differ by one row at most: only the end is padded
        assert (step < 0).sum() <= layout.lanes


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
    """The nearest that are suit the devices too."""
    assert rows_per_lane(Layout(6, 2), 48, devices=8) == 8
    for lanes, size, devices, told in (
        (8, 100, 1, r" 8 lanes; the nearest: 96 and 104"),
        (6, 100, 8, r" 6 lanes; the nearest on 8 devices: 96 and 120"),
        (6, 16, 8, r" 6 lanes; the nearest on 8 devices: 24$"),
    ):
        with pytest.raises(UserError, match=rf"batch_size={size} .*{told}"):
            rows_per_lane(Layout(lanes, 2), size, devices=devices)


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


def of_all(seed=0, number=0):
    return np.stack(list(batch_rows(Layout(4, 8), 1000, seed, number, 32)))


def of_a_day(seed=0, number=0, day=0):
    return epoch(np.full(1000, day), 32, seed, number)


CHANGES = [(of_all, {"seed": 1}), (of_all, {"number": 1}), (of_a_day, {"seed": 1})]
CHANGES += [(of_a_day, {"number": 1}), (of_a_day, {"day": 1}), (of_a_day, {"day": -1})]


@pytest.mark.parametrize(("order", "changes"), CHANGES)
def test_the_order_depends_on_seed_epoch_and_day_alone(order, changes):
    np.testing.assert_array_equal(order(), order())
    assert (order() != order(**changes)).mean() > 0.9


def test_the_order_of_a_known_epoch_and_day():
    """Written down when they were first made: if they change, runs can't go on where they were."""
    first = next(batch_rows(Layout(4, 8), 1000, seed=3, epoch=1, batch_size=8))
    np.testing.assert_array_equal(first, [257, 295, 686, 488, 306, 791, 700, 669])
    steps = epoch(np.full(200, 19_090), size=8)
    np.testing.assert_array_equal(steps[0], [135, 165, 143, 186, 130, 168, 169, 170])
    assert WINDOW_ROWS == 65_536


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


# Blocks of rows on disk: layout; the share that is held out.


OF_BLOCKS = [Layout(1, 1), Layout(1, 5), Layout(3, 4), Layout(8, 2), Layout(5, 7)]


@pytest.mark.parametrize("layout", OF_BLOCKS)
def test_blocks_hold_all_rows_and_lanes_differ_by_one_row(layout):
    size = layout.lanes * layout.block_rows
    for rows in [*range(3 * size + 2), 50 * size + 1, 10**6 + 7]:
        blocks = layout.blocks(rows)
        assert sum(blocks) == rows
        assert all(0 < n <= layout.block_rows for n in blocks)
        lanes = [sum(blocks[lane :: layout.lanes]) for lane in range(layout.lanes)]
        assert max(lanes) - min(lanes) <= 1
        assert lanes == sorted(lanes, reverse=True)
        # In each lane all but the last block are full.
        for lane in range(layout.lanes):
            assert set(blocks[lane :: layout.lanes][:-1]) <= {layout.block_rows}
        assert len(blocks) <= (rows // size + 1) * layout.lanes


@pytest.mark.parametrize("rows", [5_000, 300_000, 10**7])
def test_the_rows_that_are_shuffled_together_fit_in_memory(rows):
    """0.2 GB at 200 bytes a row, or little more; and a lane has enough to shuffle."""
    layout = default_layout(rows)
    window = layout.lanes * layout.window_rows
    assert window * 200 <= 220e6
    assert rows >= window


def test_hold_out_is_an_exact_and_fixed_share():
    frame = pl.DataFrame({"row": range(1_234)})
    rest, held = hold_out(frame, 0.1, seed=7)
    assert (len(rest), len(held)) == (1_111, 123)
    assert sorted([*rest["row"], *held["row"]]) == list(range(1_234))
    assert rest["row"].is_sorted()
    assert held["row"].is_sorted()
    again = hold_out(frame, 0.1, seed=7)
    assert again[1].equals(held)
    assert not hold_out(frame, 0.1, seed=8)[1].equals(held)
    # Fixed for good: a validation split that moves makes old results incomparable.
    assert held["row"].head(5).to_list() == HELD_OUT
    assert abs(held["row"].mean() - 617) < 100  # not all from one end


HELD_OUT = [5, 9, 24, 31, 35]


# A part of the train rows, and work ahead.


@pytest.fixture(autouse=True)
def _every_thread_ends():
    """That of a stream which is closed, came to its end, failed, or is merely forgotten."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("prefetch"):
            thread.join(120)
            assert not thread.is_alive()


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
    order = np.concatenate(list(batch_rows(layout, len(everything), 1, 0, 8)))
    stream = StreamedData(part, "train", epochs=1)  # and a run's order is of these rows
    steps = steps_per_epoch(layout, len(everything), 8)
    got = [stream.chunk(1, 0, step, 1, 8).ids[0, :, 0] for step in range(steps)]
    np.testing.assert_array_equal(np.concatenate(got), np.where(order < 0, -1, everything[order]))


def test_a_part_of_train_is_spread_over_it():
    """Where rows lie in the order of time, their first part would not stand for all."""
    part = stored_rows(Layout(4, 8), 4 * 8 * 100).part_of_train(0.2)
    numbers = SplitReader(part, "train").everything().ids[:, 0]
    counts = np.histogram(numbers, bins=4, range=(1, 3200))[0]
    assert counts.min() > 100  # of 160 on average
    with pytest.raises(UserError, match="none of 100 train rows"):
        stored_rows(Layout(4, 8), 100).part_of_train(0.001)


def test_forgetting_ends_the_thread():
    ahead = prefetched(iter(range(100)))
    next(ahead)
    del ahead


# --- streamed, resident or scored ----------------------------------------------------------------


SEED = 7
BY_DAY = pytest.mark.parametrize("by_day", [False, True])


@pytest.fixture
def odd_windows(monkeypatch):
    monkeypatch.setattr(day_order, "WINDOW_ROWS", 100)  # no multiple of a batch, nor of a block


@pytest.fixture
def as_process(monkeypatch):
    """(index, count): what follows runs as this process."""

    def become(index, count):
        monkeypatch.setattr(jax, "process_index", lambda: index)
        monkeypatch.setattr(jax, "process_count", lambda: count)

    return become


def days_of(data, by_day):
    """Read before there are several processes, which would come together to read them."""
    return read_days(data, "train") if by_day else None


def rows_of(batch):
    """The rows' numbers; -1 is padding."""
    ids, mask = np.asarray(batch.ids[..., 0]), np.asarray(batch.row_mask)
    np.testing.assert_array_equal(ids >= 0, mask)
    np.testing.assert_array_equal(np.asarray(batch.labels)[mask][:, 0], ids[mask] / 2)
    return np.where(mask, ids - 1, -1)


def expected(data, size, epochs, days=None):
    """The rows' numbers `[steps, B]` of some epochs, by their order alone."""
    layout, rows = data.layout, data.rows["train"]
    order = [
        days.batch_rows(SEED, e, size) if days else batch_rows(layout, rows, SEED, e, size)
        for e in range(epochs)
    ]
    return np.concatenate([np.stack(list(steps)) for steps in order])


def chunks(source, size, start, stop, per_epoch, most=CHUNK_STEPS):
    """The rows' numbers `[steps, B]` of a source; steps are counted from the first epoch's."""
    found = []
    while start < stop:
        epoch, position = divmod(start, per_epoch)
        count = min(most, per_epoch - position, stop - start)
        chunk = source.chunk(SEED, epoch, position, count, size)
        assert len(chunk.row_mask) == CHUNK_STEPS
        found.append(rows_of(part_of(chunk, 0, count)))
        start += count
    return np.concatenate(found)


def per_epoch(data, size, days=None):
    if days:
        return days.steps_per_epoch(size)
    return steps_per_epoch(data.layout, data.rows["train"], size)


def together(as_process, count, data, size, start, stop, days=None):
    """What streams give all processes, side by side as in the whole batch."""
    parts, each = [], per_epoch(data, size, days)
    for index in range(count):
        as_process(index, count)
        stream = StreamedData(data, "train", -(-stop // each), days)
        parts.append(chunks(stream, size, start, stop, each))
        stream.close()
    assert len({part.shape for part in parts}) == 1
    return np.concatenate(parts, axis=1)


# (lanes, processes, rows): lanes of their own, shared ones, empty ones, parts that end within one.
SETS = [(8, 2, 40), (2, 8, 731), (4, 4, 3), (1, 4, 3), (3, 4, 731), (6, 4, 40), (8, 64, 500)]
DRAW = np.random.default_rng(0)
SETS += [(*DRAW.integers(1, 17, 2).tolist(), int(DRAW.integers(1, 1000))) for _ in range(7)]


@BY_DAY
@pytest.mark.parametrize(("lanes", "processes", "rows"), SETS)
def test_processes_have_the_rows_of_one_from_any_step_on(
    lanes, processes, rows, by_day, as_process, odd_windows
):
    draw = np.random.default_rng(rows)
    data = stored_rows(Layout(lanes, int(draw.integers(1, 9))), rows, days=log(rows))
    days, size = days_of(data, by_day), int(draw.integers(1, 5)) * math.lcm(lanes, processes)
    whole = expected(data, size, 2, days)
    assert (np.bincount(whole[whole >= 0], minlength=rows) == 2).all()
    for start in (0, int(draw.integers(0, len(whole)))):
        got = together(as_process, processes, data, size, start, len(whole), days)
        np.testing.assert_array_equal(got, whole[start:])


@pytest.mark.parametrize(
    ("index", "processes", "lanes"), [(1, 4, {2, 3}), (3, 16, {1}), (1, 3, {2, 3, 4, 5})]
)
def test_a_process_reads_only_the_lanes_of_its_rows(index, processes, lanes, as_process):
    """Process 1 of 4 has the lanes 2 and 3, say; each of their blocks once an epoch."""
    data = stored_rows(Layout(8, 4), 8 * 4 * 20 + 3)
    as_process(index, processes)
    count = per_epoch(data, 48)
    chunks(StreamedData(data, "train", 1), 48, 0, count, count)
    own = [i for i in range(len(data.notes["train"])) if i % 8 in lanes]
    assert sorted(data.notes["train"].taken) == own


@BY_DAY
@pytest.mark.parametrize("size", [24, 300])  # several batches to a window, and the other way
def test_resident_rows_are_those_of_the_order(size, by_day, odd_windows):
    data, device = (
        stored_rows(Layout(6, 16), 1531, days=log(1531)),
        jax.sharding.SingleDeviceSharding(jax.devices()[0]),
    )
    days = days_of(data, by_day)
    whole, resident = expected(data, size, 2, days), ResidentData(data, "train", device, days=days)
    got = chunks(resident, size, 0, len(whole), per_epoch(data, size, days))
    np.testing.assert_array_equal(got, whole)


def group_of(ids):
    """Of the row with this id: unlike ones share a half of their numbers."""
    return (np.asarray(ids, np.int64) - 250) * (2**32 + 1)


@BY_DAY
def test_a_row_has_its_group_wherever_it_is_read(by_day, odd_windows):
    data, device = (
        stored_rows(Layout(4, 8), 500, days=log(500)),
        jax.sharding.SingleDeviceSharding(jax.devices()[0]),
    )
    for record in data.stored("train"):
        record["group"] = group_of(record["ids"][:, 0])
    data = dataclasses.replace(data, schema=dataclasses.replace(data.schema, group="user"))
    days = days_of(data, by_day)
    for source in (
        ResidentData(data, "train", device, days=days, grouped=True),
        StreamedData(data, "train", 1, days, grouped=True),
    ):
        batch = jax.tree.map(lambda a: a[:12], source.chunk(3, 0, 2, 12, 24))
        source.close()
        group, ids = np.array(batch.group), np.asarray(batch.ids[..., 0])
        assert (group.dtype, group.shape) == (np.int32, (*ids.shape, 2))
        assert (ids >= 0).sum() > 200
        numbers = group.view(np.int64)[..., 0]
        np.testing.assert_array_equal(numbers[ids >= 0], group_of(ids[ids >= 0]))
    batch = next(in_order(data, "train", 24))
    np.testing.assert_array_equal(batch.group.view(np.int64)[:, 0], group_of(batch.ids[:, 0]))
    # Who does not ask has none.
    assert SplitReader(data, "train").everything().group is None
    assert StreamedData(data, "train", 1).chunk(3, 0, 0, 4, 24).group is None


def test_damaged_ids_are_named_where_they_are_read():
    data = stored_rows(Layout(2, 8), 600)
    data.source("train")[70]["ids"][3] = 7777
    with pytest.raises(UserError, match="field 'number': id 7777"):
        list(in_order(data, "train", 64))
    stream = StreamedData(data, "train")
    with pytest.raises(UserError, match="field 'number': id 7777"):  # in another thread
        for start in range(75):
            stream.chunk(0, 0, start, 1, 8)
