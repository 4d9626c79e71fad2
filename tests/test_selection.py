"""What model selection looks at."""

import numpy as np
import pytest

from dtn_jax import selection
from dtn_jax.run import selected_tasks
from dtn_jax.schema import Field, Schema, Task, UserError

SCHEMA = Schema(
    "shop",
    fields=(Field("item", rows=3),),
    tasks=(
        Task("click"),
        Task("order", space="click", also_report=("all",)),
        Task("seconds", kind="regression"),
    ),
)


def test_a_task_is_selected_by_auc_or_r2():
    click, order, seconds = SCHEMA.tasks
    assert selection.selection_value(click, {"auc": 0.7, "logloss": 0.1}) == 0.7
    assert selection.selection_value(seconds, {"r2": 0.3, "rmse": 9.0}) == 0.3
    assert selection.selection_value(order, {"auc": None}) is None


def test_the_mean_is_over_what_is_defined():
    np.testing.assert_allclose(selection.mean_of([0.7, None, 0.3]), 0.5)
    assert selection.mean_of([None, None]) is None
    assert selection.mean_of([]) is None


@pytest.mark.parametrize(
    ("select", "tasks"),
    [
        ("mean", ["click", "order", "seconds"]),
        ("order", ["order"]),
        ("seconds+click", ["seconds", "click"]),
    ],
)
def test_a_state_is_selected_by_all_tasks_one_or_some(select, tasks):
    assert selected_tasks("train.select", select, SCHEMA) == tasks


def test_a_task_selects_once():
    with pytest.raises(UserError, match="a task is named twice in 'click\\+order\\+click'"):
        selected_tasks("train.select", "click+order+click", SCHEMA)


@pytest.mark.parametrize("select", ["", "orders", "click+", "click+mean"])
def test_a_task_that_is_not_there_cannot_select(select):
    with pytest.raises(UserError, match=r"unknown train\.select .*click, order, seconds"):
        selected_tasks("train.select", select, SCHEMA)
