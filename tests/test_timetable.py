"""When a run logs, validates, leaves a checkpoint and stops."""

import pytest

from configs.base import get_config
from dtn_jax.errors import UserError
from dtn_jax.timetable import make_timetable


def timetable(steps_per_epoch=100, **changes):
    train = get_config().train
    train.update(changes)
    return make_timetable(train, steps_per_epoch)


@pytest.mark.parametrize(
    ("steps", "given", "expected"), [(45, 0, 1), (1_000, 0, 40), (10**6, 0, 100), (45, 7, 7)]
)
def test_short_runs_log_more_often(steps, given, expected):
    assert timetable(steps, log_every=given).log_every == expected


def test_a_run_ends_by_epochs_or_at_a_step():
    assert timetable(epochs=3).total_steps == 300
    assert timetable(epochs=3, max_steps=120).total_steps == 120
    assert timetable(epochs=3, max_steps=900).total_steps == 300


def test_steps_are_numbered_in_32_bits():
    assert timetable(10, epochs=2**31 - 1, max_steps=5).total_steps == 5
    with pytest.raises(UserError, match=r"epochs=2,147,483,647 of 10 steps: steps are int32"):
        timetable(10, epochs=2**31 - 1)


def test_chunks_end_where_the_host_has_something_to_do():
    at = timetable(45, eval_every=15, log_every=20, checkpoint_every=12)
    step, stops = 0, []
    while step < at.total_steps:
        step += at.steps_to_next_stop(step)
        stops.append(step)
    assert stops == [12, 15, 20, 24, 30, 36, 40, 45]
    assert [s for s in stops if at.validation_is_due(s)] == [15, 30, 45]
    assert [s for s in stops if at.checkpoint_is_due(s)] == [12, 15, 24, 30, 36, 45]
