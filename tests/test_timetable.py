"""When a run logs, validates, leaves a checkpoint and stops."""

import numpy as np
import pytest

from configs.base import get_config
from dtn_jax.errors import UserError
from dtn_jax.timetable import make_timetable


def timetable(steps_per_epoch=100, days_begin=None, **changes):
    """With batches of 10 examples."""
    train = get_config().train
    train.update(changes)
    return make_timetable(train, steps_per_epoch, 10, days_begin)


@pytest.mark.parametrize(
    ("steps", "given", "expected"), [(45, 0, 1), (1_000, 0, 40), (10**6, 0, 100), (45, 7, 7)]
)
def test_short_runs_log_more_often(steps, given, expected):
    assert timetable(steps, log_every=given).log_every == expected


def test_a_run_ends_by_epochs_or_at_a_step():
    assert timetable(epochs=3).total_steps == 300
    assert timetable(epochs=3, max_steps=120).total_steps == 120
    assert timetable(epochs=3, max_steps=900).total_steps == 300


def test_the_limit_of_examples_is_that_of_early_stopping_and_at_least_an_epoch():
    def found(**changes):
        at = timetable(epochs=20, **changes)
        return at.total_steps, at.longer

    assert found(max_examples=5_019) == (2_000, "train.epochs=40")  # no patience: exactly 20
    assert found(patience=2) == (2_000, "train.epochs=40")
    assert found(patience=2, max_examples=5_019) == (501, "train.max_examples=10038")
    assert found(patience=2, max_examples=900) == (100, "train.max_examples=2000")
    assert found(patience=2, max_examples=20_000) == (2_000, "train.epochs=40")
    assert found(patience=2, max_examples=5_019, max_steps=70) == (70, "")
    assert found(patience=2, max_examples=5_019, max_steps=900)[0] == 501


def test_a_run_that_may_stop_early_logs_as_often_as_its_certain_part_needs():
    assert timetable(45, epochs=20).log_every == 36
    assert timetable(45, epochs=20, patience=2).log_every == 5  # 135 steps are certain
    assert timetable(45, epochs=2, patience=2).log_every == 3


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


def test_a_day_that_is_scored_first_is_a_stop_with_a_checkpoint():
    begin = np.array([0, 7, 20, 40])
    plain = timetable(40, begin, log_every=20)
    assert plain.first_steps == ()
    assert (plain.steps_to_next_stop(0), plain.checkpoint_is_due(7)) == (16, False)
    first = timetable(40, begin, log_every=20, evaluate_first=True)
    assert first.first_steps == (0, 7, 20)  # no day begins at the end
    assert [first.steps_to_next_stop(step) for step in (0, 7, 20)] == [7, 13, 16]
    assert [step for step in range(1, 41) if first.checkpoint_is_due(step)] == [7, 20, 40]
    cut = timetable(40, begin, evaluate_first=True, max_steps=20)
    assert cut.first_steps == (0, 7)
