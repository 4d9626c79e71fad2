"""What train.select names, and how states are compared by it."""

import numpy as np
import pytest

from dtn_jax.errors import UserError
from dtn_jax.metrics.selected import mean_of, metrics_of, read_selection
from dtn_jax.schema import Field, Schema, Task

TASKS = (
    Task("click"),
    Task("order", space="click", also_report=("all",)),
    Task("seconds", kind="regression"),
)
SCHEMA = Schema("shop", fields=(Field("item", rows=3),), tasks=TASKS)
GROUPED = Schema("shop", fields=(Field("item", rows=3),), tasks=TASKS, group="user")


def read(select, schema=SCHEMA):
    return read_selection("train.select", select, metrics_of(schema))


def named(selection):
    return {task: metric.name for task, metric in selection.metrics.items()}


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("mean", {"click": "auc", "order": "auc", "seconds": "r2"}),
        ("order", {"order": "auc"}),
        ("seconds+click", {"seconds": "r2", "click": "auc"}),
        ("click:logloss", {"click": "logloss"}),
        ("seconds:rmse", {"seconds": "rmse"}),
        ("click:logloss+order:logloss", {"click": "logloss", "order": "logloss"}),
        ("click:average_precision+seconds", {"click": "average_precision", "seconds": "r2"}),
        ("mean:logloss", {"click": "logloss", "order": "logloss"}),
    ],
)
def test_a_state_is_selected_by_all_tasks_one_or_some(select, expected):
    assert named(read(select)) == expected


def test_groups_select_where_there_are_groups():
    assert named(read("click:gauc", GROUPED)) == {"click": "gauc"}
    assert named(read("mean:gauc", GROUPED)) == {"click": "gauc", "order": "gauc"}
    for select in ("click:gauc", "mean:gauc"):
        with pytest.raises(UserError, match=r"unknown metric of click in train\.select 'gauc'"):
            read(select)


def test_a_task_selects_once():
    for select in ("click+order+click", "click:auc+order+click:logloss"):
        with pytest.raises(UserError, match="a task is named twice in 'click"):
            read(select)


@pytest.mark.parametrize("select", ["", "orders", "click+", "click+mean", "click+mean:logloss"])
def test_a_task_that_is_not_there_cannot_select(select):
    with pytest.raises(UserError, match=r"unknown train\.select .*click, order, seconds"):
        read(select)


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("click:loglos", "unknown metric of click .* mean 'logloss'.* auc, average_precision, log"),
        ("mean:loglos", "unknown metric of click .* Did you mean 'logloss'"),
        ("click:", "unknown metric of click in train.select ''"),
        ("click:ece", "unknown metric of click .* auc, average_prec"),
        ("seconds:auc", "unknown metric of seconds .* rmse, mae, r2"),
        ("click:logloss+order", "expected metrics of one direction, such as click.order"),
    ],
)
def test_a_metric_that_cannot_select_is_refused(select, message):
    with pytest.raises(UserError, match=message):
        read(select)


def test_one_direction_of_metrics_is_told_with_what_such_tasks_have():
    with pytest.raises(UserError) as caught:
        read("click:logloss+seconds")
    read(str(caught.value).rpartition("such as ")[2])  # the advice works


def test_the_value_is_the_metrics_own_and_lower_may_be_better():
    found = {
        "click": {"auc": 0.7, "logloss": 0.4},
        "order": {"auc": 0.9, "logloss": 0.2},
        "seconds": {"r2": None},
    }
    assert read("mean").value(found) == pytest.approx(0.8)
    loss = read("mean:logloss")
    assert loss.value(found) == pytest.approx(0.3)
    assert loss.title == "log loss"
    assert read("mean").title == "AUC and R²"
    assert (loss.higher_is_better, read("mean").higher_is_better) == (False, True)
    assert loss.better(0.2, 0.3)
    assert not loss.better(0.3, 0.2)
    assert read("mean").better(0.3, 0.2)
    for selection in (loss, read("mean")):
        assert not selection.better(0.3, 0.3)
        assert selection.better(0.3, None)
        assert not selection.better(None, 0.3)
        assert not selection.better(None, None)


def test_the_mean_is_over_what_is_defined():
    np.testing.assert_allclose(mean_of([0.7, None, 0.3]), 0.5)
    np.testing.assert_allclose(mean_of([0.0, 0.5]), 0.25)  # 0 is a value: an R², a GAUC
    assert mean_of([None, None]) is None
    assert mean_of([]) is None
