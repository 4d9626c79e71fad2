"""A part of the train rows, and work ahead."""

import threading

import numpy as np
import pytest
from numbered_rows import stored_rows

from dtn_jax.data.blocks import Layout
from dtn_jax.data.epochs.batches import prefetched
from dtn_jax.data.epochs.epoch_order import batch_rows, steps_per_epoch
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.epochs.streamed import StreamedData
from dtn_jax.errors import UserError


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
