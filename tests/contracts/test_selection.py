"""Which state is kept as the best, when training stops, and what a run logs on the way."""

import json
import pathlib
import re
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from refused_configs import changed, refused

from dtn_jax.analysis import finished
from dtn_jax.losses.finite import NotFinite
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.selected import metrics_of, read_selection
from dtn_jax.run import nonfinite, selection
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.loss_log import LossLog
from dtn_jax.run.run import Run
from dtn_jax.run.selection import Progress, validate
from dtn_jax.run.state import State
from dtn_jax.run.timetable import make_timetable
from dtn_jax.run.workdir import Workdir
from dtn_jax.schema import Field, Schema, Task

FIELDS = (Field("user", rows=3), Field("item", rows=3))
SCHEMA = Schema("shop", FIELDS, (Task("click"), Task("order", space="click")))
NOTHING = [None, None, None]
MIXED = ([0.6, 0.8, 0.7, 0.7], [0.5, 0.9, 0.4, 0.6])


@pytest.fixture
def progressed(monkeypatch):
    """Validations at steps 1, 2, … that measure these of click, and half of them of order."""
    flat = np.zeros((1, 2), np.float32)
    scores = Scores(flat, flat, flat == 0, flat[:, 0])
    monkeypatch.setattr(selection, "score_split", lambda *_: scores)

    def call(select, aucs, losses, patience=0, best=()):
        train = SimpleNamespace(select=select, patience=patience)
        chosen = read_selection("train.select", select, metrics_of(SCHEMA))
        own = {"schema": SCHEMA, "config": SimpleNamespace(train=train), "selection": chosen}
        run = mock.Mock(spec=Run, steps_per_epoch=1, **own)
        folder, checkpoints = mock.Mock(spec=Workdir), mock.Mock(spec=Checkpoints)
        progress = Progress(dict(best), 1, False, [0.0, 0.0], 0)
        for step, (auc, loss) in enumerate(zip(aucs, losses, strict=True), 1):
            results = {
                "click@all": {"auc": auc, "logloss": loss},
                "order@click": {"auc": auc and auc / 2, "logloss": loss and loss / 2},
            }
            monkeypatch.setattr(selection, "measure", lambda *_, results=results: results)
            validate(run, folder, checkpoints, mock.Mock(spec=State), step, progress)
        kept = [call.args[0] for call in checkpoints.save_best.call_args_list]
        return progress, kept, [call.args[0] for call in folder.log.call_args_list]

    return call


@pytest.mark.parametrize(
    ("select", "aucs", "losses", "best"),
    [
        (
            "click:logloss",
            *MIXED,
            {"click:logloss": (0.4, 3), "click": (0.8, 2), "order": (0.4, 2)},
        ),
        ("mean", *MIXED, {"mean": (0.6, 2), "click": (0.8, 2), "order": (0.4, 2)}),
        ("mean:logloss", *MIXED, {"mean:logloss": (0.3, 3), "click": (0.8, 2), "order": (0.4, 2)}),
        (  # what is defined beats what is not
            "click:logloss",
            [None, 0.5, None],
            [None, 0.9, None],
            {"click:logloss": (0.9, 2), "click": (0.5, 2), "order": (0.25, 2)},
        ),
        (  # what is never defined keeps the state that is reported
            "click:logloss",
            NOTHING,
            [0.5, 0.4, 0.6],
            {"click:logloss": (0.4, 2), "click": (None, 2), "order": (None, 2)},
        ),
        # or the last one, where nothing says which is the best
        ("click", NOTHING, [0.5, 0.4, 0.6], {"click": (None, 3), "order": (None, 3)}),
    ],
)
def test_the_best_state_of_each_selection(select, aucs, losses, best, progressed):
    progress, kept, logged = progressed(select, aucs, losses)
    found = {name: (entry["value"], entry["step"]) for name, entry in progress.best.items()}
    assert found == {name: pytest.approx(expected) for name, expected in best.items()}
    assert {step for _, step in best.values()} <= set(kept)
    values = {"click": aucs, "click:logloss": losses}
    values["mean"] = [auc and 0.75 * auc for auc in aucs]
    values["mean:logloss"] = [loss and 0.75 * loss for loss in losses]
    assert [r["selected"] for r in logged] == pytest.approx(values[select])  # its own value
    assert [r["mean"] for r in logged] == pytest.approx(values["mean"])  # whatever selects


def test_no_state_is_exported_as_the_best_by_what_is_not_defined(monkeypatch, tmp_path):
    validation = {"click@all": {"auc": 0.7}, "order@click": {"auc": None}}
    results = {"best_steps": {"mean": 2, "click": 1, "order": 2}, "validation": validation}
    facts = {"data": "d" * 64, "config": {}, "logits": "log-odds"}
    (tmp_path / "config.json").write_text(json.dumps(facts))
    monkeypatch.setattr(finished.outcome, "read", lambda folder: results)
    run = mock.Mock(spec=Run, schema=SCHEMA, data=SimpleNamespace(fingerprint="d" * 64))
    assert finished.best(run, tmp_path, "click") == 1
    assert "--select=order: " in refused(finished.best, run, tmp_path, "order")


# ---------------------------------------------------------------- the timetable


def timetable(steps_per_epoch=100, days_begin=(), **changes):
    """With batches of 10 examples."""
    train = changed(**{f"train.{key}": value for key, value in changes.items()}).train
    return make_timetable(train, steps_per_epoch, 10, days_begin)


@pytest.mark.parametrize(
    ("steps", "changes", "expected"),
    [
        (45, {}, 1),
        (1_000, {}, 40),
        (10**6, {}, 100),
        (45, {"epochs": 20, "patience": 2}, 5),  # 135 steps are certain
        (45, {"epochs": 2, "patience": 2}, 3),
    ],
)
def test_short_runs_log_more_often(steps, changes, expected):
    assert timetable(steps, **changes).log_every == expected


@pytest.mark.parametrize(
    ("changes", "total"),
    [
        ({"max_steps": 120}, 120),
        ({"max_steps": 9_000}, 2_000),
        ({"max_examples": 5_019}, 2_000),  # no patience: exactly 20 epochs
        ({"patience": 2}, 2_000),
        ({"patience": 2, "max_examples": 5_019}, 501),
        ({"epochs": 2**31 - 1, "max_steps": 5}, 5),
    ],
)
def test_where_a_run_ends(changes, total):
    assert timetable(**{"epochs": 20} | changes).total_steps == total


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
    first = timetable(40, [0, 7, 20, 40], log_every=20)
    assert first.first_steps == (0, 7, 20)  # no day begins at the end
    assert [first.steps_to_next_stop(step) for step in (0, 7, 20)] == [7, 13, 16]
    assert [step for step in range(1, 41) if first.checkpoint_is_due(step)] == [7, 20, 40]
    assert timetable(40, [0, 7, 20, 40], max_steps=20).first_steps == (0, 7)


# ---------------------------------------------------------------- the losses


class Shown(list):
    def log(self, record):
        self.append(record)

    def update(self, **shown):
        self.append(shown)


def new_log(**changes):
    """Of a run of 6 steps, with lines every 4 and epochs of 8."""
    config = changed(train__max_steps=6, train__log_every=4, **changes)
    at = make_timetable(config.train, steps_per_epoch=8, batch_size=32)
    run = SimpleNamespace(
        config=config,
        schema=SCHEMA,
        at=SimpleNamespace(mesh=SimpleNamespace(shape={"data": 1, "table": 1})),
        at_steps=at,
        steps_per_epoch=8,
        total_steps=at.total_steps,
        state_shapes=SimpleNamespace(params={"tower": {"bias": 0.0, "kernel": 0.0}}),
        plan=SimpleNamespace(arrays={"embedding": None}),
    )
    return LossLog(run, Shown(), Progress({}, 0, False, [0.0, 0.0], 0), Shown())


def metrics(*losses, **more):
    losses = np.asarray(losses, np.float32)
    marks = np.concatenate([~np.isfinite(losses), np.zeros((len(losses), 3), bool)], axis=1)
    return {"losses": losses, "nonfinite": marks} | more


def test_lines_hold_the_mean_since_the_line_before_and_come_a_chunk_late():
    """And a balancer's weights at the line's step."""
    log = new_log()
    log.add(2, metrics((1, 10), (3, 30), (99, 99)), 2)  # the third step was not taken
    assert log.folder == log.bar == []
    log.add(4, metrics((5, 50), (7, 70), task_weights=np.array([[9, 9], [0.5, 2.0]])), 2)
    assert log.bar[0]["losses"] == {"click": 2.0, "order": 20.0}
    assert log.folder == []
    log.add(6, metrics((8, 80), (8, 80), task_weights=np.array([[9, 9], [0.25, 4.0]])), 2)
    log.fetch(leave=0)
    keys = ("step", "epoch", "loss/click", "loss/order", "weight/click", "weight/order")
    assert [tuple(line[key] for key in keys) for line in log.folder] == [
        (4, 0.5, 4.0, 40.0, 0.5, 2.0),
        (6, 0.75, 8.0, 80.0, 0.25, 4.0),  # the last step always has a line
    ]


def test_lengths_and_cosines_of_gradients_are_those_of_the_lines_step():
    log = new_log()
    grams = [np.eye(2), np.array([[4.0, -3.0], [-3.0, 9.0]])]
    weights = np.ones((2, 2))
    log.add(4, metrics((1, 1), (1, 1), task_weights=weights, task_gram=np.array(grams)), 2)
    grams[1] = np.diag([4.0, 0.0])
    log.add(6, metrics((1, 1), (1, 1), task_weights=weights, task_gram=np.array(grams)), 2)
    log.fetch(leave=0)
    keys = ("norm/click", "norm/order", "cosine/click/order")
    found = [tuple(line.get(key) for key in keys) for line in log.folder]
    assert found == [(2, 3, -0.5), (2, 0, None)]  # a gradient of 0 has no cosine


def test_a_balancer_at_fault_is_named_and_not_the_gradients_that_it_has_spoilt():
    log = new_log(loss__balancing="gls")
    found = metrics((1, 1), (1, 1), task_weights=np.ones((2, 2)))
    found["nonfinite"] = np.pad(found["nonfinite"], ((0, 0), (0, 4)))
    found["nonfinite"][1, 2:-3] = True  # with the weights
    log.add(2, found, 2)
    with pytest.raises(NotFinite, match="step 2: ") as caught:
        log.fetch(leave=0)
    told = nonfinite.message(log.run, caught.value, [], pathlib.Path("a.npz"))
    given = "not finite at step 2: what loss.balancing=gls gives, of finite losses: GLS.weights ("
    assert told.startswith(given)
    assert re.search(r"dtn_jax/balancing/gls.py, line \d+\)", told)


def test_steps_that_are_skipped_are_counted_and_in_no_mean():
    log = new_log(train__skip_nonfinite=2)
    log.add(2, metrics((1, 10), (np.nan, 30)), 2)
    log.add(4, metrics((3, 30), (np.inf, 70)), 2)
    log.fetch(leave=0)
    (line,) = log.folder
    assert (line["loss/click"], line["loss/order"], line["skipped"]) == (2.0, 20.0, 2)
    log.add(6, metrics((1, 1), (1, np.nan)), 2)
    with pytest.raises(NotFinite) as caught:
        log.fetch(leave=0)
    assert caught.value.step == 6
