"""Which state is kept as the best, and when training stops."""

import json
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

from dtn_jax import selection
from dtn_jax.analysis import finished
from dtn_jax.checkpoint import Checkpoints
from dtn_jax.errors import UserError
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.selected import metrics_of, read_selection
from dtn_jax.run import Run
from dtn_jax.schema import Field, Schema, Task
from dtn_jax.selection import Progress, validate
from dtn_jax.state import State
from dtn_jax.workdir import Workdir

SCHEMA = Schema("shop", (Field("item", rows=3),), (Task("click"), Task("order", space="click")))


def progressed(select, aucs, losses, patience=0, monkeypatch=None, progress=None):
    """Validations at steps 1, 2, … that measure these of click, and half of them of order."""
    train = SimpleNamespace(select=select, patience=patience)
    chosen = read_selection("train.select", select, metrics_of(SCHEMA))
    run = mock.Mock(
        spec=Run,
        schema=SCHEMA,
        config=SimpleNamespace(train=train),
        selection=chosen,
        steps_per_epoch=1,
    )
    flat = np.zeros((1, 2), np.float32)
    scores = Scores(flat, flat, flat == 0, flat[:, 0])
    folder, checkpoints = mock.Mock(spec=Workdir), mock.Mock(spec=Checkpoints)
    progress = progress or Progress({}, 0, False, [0.0, 0.0], 0)
    monkeypatch.setattr(selection, "score_split", lambda *_: scores)
    found = []
    for step, (auc, loss) in enumerate(zip(aucs, losses, strict=True), 1):
        results = {
            "click@all": {"auc": auc, "logloss": loss},
            "order@click": {"auc": auc and auc / 2, "logloss": loss and loss / 2},
        }
        monkeypatch.setattr(selection, "measure", lambda *_, results=results: results)
        state = mock.Mock(spec=State)
        found.append(validate(run, folder, checkpoints, state, step, progress))
    kept = [call.args[0] for call in checkpoints.save_best.call_args_list]
    return progress, found, kept, [call.args[0] for call in folder.log.call_args_list]


def test_higher_aucs_and_lower_losses_are_better(monkeypatch):
    aucs, losses = [0.6, 0.8, 0.7, 0.7], [0.5, 0.9, 0.4, 0.6]
    progress, found, kept, logged = progressed(
        "click:logloss", aucs, losses, monkeypatch=monkeypatch
    )
    assert progress.best == {
        "click:logloss": {"value": 0.4, "step": 3},
        "click": {"value": 0.8, "step": 2},
        "order": {"value": 0.4, "step": 2},
    }
    assert kept == [1, 2, 3]
    assert found[3] == {"click:logloss": 0.6, "click": 0.7, "order": 0.35}
    assert logged[1]["selected"] == 0.9  # its own value
    assert logged[1]["mean"] == pytest.approx(0.6)  # of the AUCs, whatever selects
    progress, *_ = progressed("mean", aucs, losses, monkeypatch=monkeypatch)
    assert progress.best["mean"] == {"value": pytest.approx(0.6), "step": 2}
    progress, *_ = progressed("mean:logloss", aucs, losses, monkeypatch=monkeypatch)
    assert progress.best["mean:logloss"] == {"value": pytest.approx(0.3), "step": 3}


def test_what_is_not_defined_is_beaten_by_any_that_is(monkeypatch):
    progress, *_ = progressed(
        "click:logloss", [None, 0.5, None], [None, 0.9, None], monkeypatch=monkeypatch
    )
    assert progress.best["click:logloss"] == {"value": 0.9, "step": 2}
    assert progress.best["click"] == {"value": 0.5, "step": 2}


def test_what_is_never_defined_keeps_no_early_state(monkeypatch):
    """It keeps the state that is reported; where nothing says which is the best, the last one."""
    nothing, losses = [None, None, None], [0.5, 0.4, 0.6]
    progress, *_ = progressed("click:logloss", nothing, losses, monkeypatch=monkeypatch)
    assert {name: kept["step"] for name, kept in progress.best.items()} == {
        "click:logloss": 2,
        "click": 2,
        "order": 2,
    }
    progress, *_ = progressed("click", nothing, losses, patience=1, monkeypatch=monkeypatch)
    assert {kept["step"] for kept in progress.best.values()} == {3}
    assert not progress.stopped


def test_no_state_is_exported_as_the_best_by_what_is_not_defined(monkeypatch, tmp_path):
    validation = {"click@all": {"auc": 0.7}, "order@click": {"auc": None}}
    results = {"best_steps": {"mean": 2, "click": 1, "order": 2}, "validation": validation}
    facts = {"data": "d" * 64, "config": {}, "logits": "log-odds"}
    (tmp_path / "config.json").write_text(json.dumps(facts))
    monkeypatch.setattr(finished.found, "read", lambda folder: results)
    run = mock.Mock(spec=Run, schema=SCHEMA, data=SimpleNamespace(fingerprint="d" * 64))
    assert finished.best(run, tmp_path, "click") == 1
    with pytest.raises(UserError, match="--select=order: its metric is not defined on validation"):
        finished.best(run, tmp_path, "order")


def test_early_stopping_watches_what_selects(monkeypatch):
    rising, falling = [0.5, 0.6, 0.7], [0.9, 0.8, 0.7]
    for select, stopped in (("click", False), ("click:logloss", True)):
        progress, *_ = progressed(select, rising, rising, patience=2, monkeypatch=monkeypatch)
        assert progress.stopped == stopped
    progress, *_ = progressed("mean:logloss", falling, falling, patience=2, monkeypatch=monkeypatch)
    assert not progress.stopped


def test_a_checkpoint_of_before_metrics_could_be_named_goes_on(monkeypatch):
    best = {name: {"value": 0.7, "step": 10} for name in ("mean", "click", "order")}
    before = Progress(best, 1, False, [0.0, 0.0], 0)
    progress, *_ = progressed("mean", [0.8], [0.1], monkeypatch=monkeypatch, progress=before)
    assert {name: entry["step"] for name, entry in progress.best.items()} == {
        "mean": 10,  # (0.8 + 0.4) / 2
        "click": 1,
        "order": 10,
    }
