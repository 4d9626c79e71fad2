"""Processes take turns here, each with its part of the batches; together they have one's rows."""

import math

import jax
import numpy as np
import pytest
from numbered_rows import stored_rows

from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.input.batches import CHUNK_STEPS
from dtn_jax.input.epoch_order import batch_rows, steps_per_epoch, window_count
from dtn_jax.input.reader import in_order, part_of
from dtn_jax.input.streamed import StreamedData

SEED = 7
MOST = 16  # lanes and processes in the random draws


@pytest.fixture
def as_process(monkeypatch):
    """(index, count): what follows runs as this process."""

    def become(index, count):
        monkeypatch.setattr(jax, "process_index", lambda: index)
        monkeypatch.setattr(jax, "process_count", lambda: count)

    return become


def rows_of(batch):
    """The rows' numbers; -1 is padding."""
    ids, mask = batch.ids[..., 0], batch.row_mask
    np.testing.assert_array_equal(ids >= 0, mask)
    np.testing.assert_array_equal(batch.labels[mask][:, 0], ids[mask] / 2)
    return np.where(mask, ids - 1, -1)


def streamed(data, size, start, stop):
    """The rows' numbers `[steps, B]` of a process; steps are counted from the first epoch's."""
    per_epoch = steps_per_epoch(data.layout, data.rows["train"], size)
    stream, found = StreamedData(data, "train", epochs=-(-stop // per_epoch)), []
    while start < stop:
        epoch, position = divmod(start, per_epoch)
        count = min(CHUNK_STEPS, per_epoch - position, stop - start)
        chunk = stream.chunk(SEED, epoch, position, count, size)
        found.append(rows_of(part_of(chunk, 0, count)))
        start += count
    stream.close()
    return np.concatenate(found)


def together(as_process, count, *args):
    """What `streamed` gives all processes, side by side as in the whole batch."""
    parts = []
    for index in range(count):
        as_process(index, count)
        parts.append(streamed(*args))
    assert len({part.shape for part in parts}) == 1
    return np.concatenate(parts, axis=1)


def expected(data, size, epochs):
    order = [batch_rows(data.layout, data.rows["train"], SEED, e, size) for e in range(epochs)]
    return np.concatenate([np.stack(list(steps)) for steps in order])


@pytest.mark.parametrize(
    ("lanes", "processes", "rows"),
    [(8, 2, 40), (2, 8, 1531), (1, 4, 3), (4, 1, 1000), (3, 4, 1531), (6, 4, 40), (8, 64, 1000)],
)
def test_processes_have_the_rows_of_one(lanes, processes, rows, as_process):
    """Lanes of their own, shared ones, and parts that end within a lane; three epochs."""
    data = stored_rows(Layout(lanes, 4), rows)
    size = 3 * math.lcm(lanes, processes)
    whole = expected(data, size, 3)
    got = together(as_process, processes, data, size, 0, len(whole))
    np.testing.assert_array_equal(got, whole)
    each = np.bincount(got[got >= 0], minlength=rows)
    assert (each == 3).all()


@pytest.mark.parametrize("draw", range(12))
def test_of_any_set_and_from_any_step_no_row_is_lost_or_repeated(draw, as_process):
    rng = np.random.default_rng(draw)
    lanes, processes = rng.integers(1, MOST + 1, 2).tolist()
    data = stored_rows(Layout(lanes, int(rng.integers(1, 6))), int(rng.integers(1, 2000)))
    size = int(rng.integers(1, 5)) * math.lcm(lanes, processes)
    whole = expected(data, size, 2)
    start = int(rng.integers(0, len(whole)))
    got = together(as_process, processes, data, size, start, len(whole))
    np.testing.assert_array_equal(got, whole[start:])


def test_a_run_goes_from_eight_processes_to_four_to_two_on_four_lanes(as_process):
    """Two to a lane, then one, then two lanes each; cut within a window, twice in an epoch."""
    data, size = stored_rows(Layout(4, 8), 4 * 8 * 40 + 5), 16
    assert window_count(data.layout, data.rows["train"]) == 3
    whole = expected(data, size, 2)
    cuts = [0, 37, 59, len(whole)]  # a window has 32 steps
    parts = [
        together(as_process, count, data, size, start, stop)
        for count, start, stop in zip((8, 4, 2), cuts, cuts[1:])
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(
    ("index", "processes", "lanes"),
    [(1, 4, {2, 3}), (3, 16, {1}), (1, 3, {2, 3, 4, 5})],
)
def test_a_process_reads_only_the_lanes_of_its_rows(index, processes, lanes, as_process):
    """Process 1 of 4 has the lanes 2 and 3, say; each of their blocks once an epoch."""
    data = stored_rows(Layout(8, 4), 8 * 4 * 20 + 3)
    size = 48
    as_process(index, processes)
    streamed(data, size, 0, steps_per_epoch(data.layout, data.rows["train"], size))
    taken = data.notes["train"].taken
    own = [i for i in range(len(data.notes["train"])) if i % 8 in lanes]
    assert sorted(taken) == own


@pytest.mark.parametrize("processes", [2, 8])
def test_to_score_a_process_reads_only_the_blocks_of_its_rows(processes, as_process):
    data, size = stored_rows(Layout(4, 8), 1000), 64 * processes
    own, whole = size // processes, []
    for index in range(processes):
        part = slice(index * own, (index + 1) * own)
        data.notes["train"].taken.clear()
        whole.append(np.stack([rows_of(b) for b in in_order(data, "train", size, part)]))
        starts = data.layout.starts(1000)
        blocks = np.unique(np.searchsorted(starts, whole[-1][whole[-1] >= 0], side="right") - 1)
        taken = set(data.notes["train"].taken)
        assert set(blocks) <= taken <= {*blocks, len(starts) - 2}  # the last, to pad from
    rows = np.concatenate(whole, axis=1).ravel()
    np.testing.assert_array_equal(rows[:1000], np.arange(1000))
    assert (rows[1000:] == -1).all()
