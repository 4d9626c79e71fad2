"""Training losses are averaged between log lines, fetched a chunk late, and watched."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from dtn_jax.errors import UserError
from dtn_jax.loss_log import LossLog
from dtn_jax.losses.finite import NotFinite
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.selection import Progress
from dtn_jax.timetable import make_timetable

SCHEMA = Schema(
    "toy", (Field("user", rows=5), Field("item", rows=5)), (Task("click"), Task("like"))
)


class Folder(list):
    def log(self, record):
        self.append(record)


class Bar(list):
    def update(self, **shown):
        self.append(shown)


def new_log():
    config = base.get_config()
    config.train.max_steps, config.train.log_every = 6, 4
    at = make_timetable(config.train, steps_per_epoch=8, batch_size=32)
    steps = {"at_steps": at, "steps_per_epoch": 8, "total_steps": at.total_steps}
    params = {"tower": {"bias": 0.0, "kernel": 0.0}}
    state, plan = SimpleNamespace(params=params), SimpleNamespace(arrays={"embedding": None})
    placed = SimpleNamespace(mesh=SimpleNamespace(shape={"data": 1, "table": 1}))
    steps |= {"config": config, "schema": SCHEMA, "at": placed}
    run = SimpleNamespace(state_shapes=state, plan=plan, **steps)
    progress = Progress({}, 0, False, [0.0, 0.0], 0)
    return LossLog(run, Folder(), progress, Bar())


def metrics(*losses, **more):
    losses = jnp.asarray(losses, jnp.float32)
    marks = jnp.concatenate([~jnp.isfinite(losses), jnp.zeros((len(losses), 3), bool)], axis=1)
    return {"losses": losses, "nonfinite": marks} | more


def test_lines_hold_the_mean_since_the_line_before_and_come_a_chunk_late():
    log = new_log()
    log.add(2, metrics((1, 10), (3, 30), (99, 99)), 2)  # the third step was not taken
    assert log.folder == log.bar == []
    log.add(4, metrics((5, 50), (7, 70)), 2)
    assert log.bar[0]["losses"] == {"click": 2.0, "like": 20.0}
    assert log.folder == []
    log.add(6, metrics((8, 80), (8, 80)), 2)
    (line,) = log.folder
    assert (line["step"], line["epoch"]) == (4, 0.5)
    assert (line["loss/click"], line["loss/like"]) == (4.0, 40.0)
    log.fetch(leave=0)
    assert log.folder[1]["step"] == 6  # the last step always has a line
    assert log.folder[1]["loss/click"] == 8.0


def test_a_loss_that_is_not_finite_names_the_step_and_the_task():
    log = new_log()
    log.add(5, metrics((1, 1), (1, jnp.nan)), 2)
    with pytest.raises(NotFinite) as caught:
        log.fetch(leave=0)
    assert (caught.value.step, caught.value.tasks, caught.value.gradients) == (5, ("like",), ())


def test_a_gradient_that_is_not_finite_names_what_it_is_of():
    log, marks = new_log(), np.zeros((2, 5), bool)
    marks[0, 3:] = True
    log.add(5, metrics((1, 1), (1, 1), nonfinite=marks), 2)
    with pytest.raises(NotFinite) as caught:
        log.fetch(leave=0)
    assert (caught.value.step, caught.value.tasks) == (4, ())
    assert caught.value.gradients == ("tower/kernel", "table embedding")


def test_steps_that_are_skipped_are_counted_and_in_no_mean():
    log = new_log()
    log.run.config.train.skip_nonfinite = 2
    log.add(2, metrics((1, 10), (jnp.nan, 30)), 2)
    log.add(4, metrics((3, 30), (jnp.inf, 70)), 2)
    log.fetch(leave=0)
    (line,) = log.folder
    assert (line["loss/click"], line["loss/like"], line["skipped"]) == (2.0, 20.0, 2)
    log.add(6, metrics((1, 1), (1, jnp.nan)), 2)
    with pytest.raises(NotFinite) as caught:
        log.fetch(leave=0)
    assert caught.value.step == 6


def test_ids_out_of_range_are_named_by_field():
    log = new_log()
    log.add(2, metrics((1, 1), (1, 1), bad_ids=jnp.asarray([[0, 2], [0, 1]])), 2)
    with pytest.raises(UserError, match=r"between steps 1 and 2, by field: item \(3\)"):
        log.fetch(leave=0)


def test_a_balancers_weights_are_those_of_the_lines_step():
    log = new_log()
    log.add(4, metrics((1, 1), (1, 1), task_weights=jnp.asarray([[9, 9], [0.5, 2.0]])), 2)
    log.add(6, metrics((1, 1), (1, 1), task_weights=jnp.asarray([[0.25, 4.0], [9, 9]])), 1)
    log.fetch(leave=0)
    assert [(r["weight/click"], r["weight/like"]) for r in log.folder] == [(0.5, 2.0), (0.25, 4.0)]
