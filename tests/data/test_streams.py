"""An epoch streamed, resident or scored: by one process or several, shuffled or day after day."""

import dataclasses
import math

import jax
import numpy as np
import pytest
from numbered_rows import stored_rows

from dtn_jax.data.blocks import Layout
from dtn_jax.data.epochs import day_order
from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.data.epochs.day_order import read_days
from dtn_jax.data.epochs.epoch_order import batch_rows, steps_per_epoch
from dtn_jax.data.epochs.reader import SplitReader, in_order, part_of
from dtn_jax.data.epochs.resident import ResidentData
from dtn_jax.data.epochs.streamed import StreamedData
from dtn_jax.errors import UserError

SEED = 7
BY_DAY = pytest.mark.parametrize("by_day", [False, True])


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch):
    monkeypatch.setattr(day_order, "WINDOW_ROWS", 100)  # no multiple of a batch, nor of a block


@pytest.fixture
def as_process(monkeypatch):
    """(index, count): what follows runs as this process."""

    def become(index, count):
        monkeypatch.setattr(jax, "process_index", lambda: index)
        monkeypatch.setattr(jax, "process_count", lambda: count)

    return become


def dated(layout, rows, days=5):
    """Rows of some days, of which some come late."""
    of = np.sort(np.random.default_rng(1).integers(0, days, rows))
    of[200:400] = of[200:400][::-1]
    return stored_rows(layout, rows, days=of)


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
SETS = [(8, 2, 40), (2, 8, 1531), (4, 4, 3), (1, 4, 3), (3, 4, 1531), (6, 4, 40), (8, 64, 1000)]
DRAW = np.random.default_rng(0)
SETS += [(*DRAW.integers(1, 17, 2).tolist(), int(DRAW.integers(1, 2000))) for _ in range(7)]


@BY_DAY
@pytest.mark.parametrize(("lanes", "processes", "rows"), SETS)
def test_processes_have_the_rows_of_one_from_any_step_on(
    lanes, processes, rows, by_day, as_process
):
    draw = np.random.default_rng(rows)
    data = dated(Layout(lanes, int(draw.integers(1, 9))), rows)
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
def test_resident_rows_are_those_of_the_order(size, by_day):
    data, device = dated(Layout(6, 16), 1531), jax.sharding.SingleDeviceSharding(jax.devices()[0])
    days = days_of(data, by_day)
    whole, resident = expected(data, size, 2, days), ResidentData(data, "train", device, days=days)
    got = chunks(resident, size, 0, len(whole), per_epoch(data, size, days))
    np.testing.assert_array_equal(got, whole)


def group_of(ids):
    """Of the row with this id: unlike ones share a half of their numbers."""
    return (np.asarray(ids, np.int64) - 250) * (2**32 + 1)


@BY_DAY
def test_a_row_has_its_group_wherever_it_is_read(by_day):
    data, device = dated(Layout(4, 8), 500), jax.sharding.SingleDeviceSharding(jax.devices()[0])
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
