"""What model selection looks at."""

import numpy as np
import pytest

from dtn_jax import selection
from dtn_jax.schema import Field, Schema, Task

SCHEMA = Schema(
    "shop",
    fields=(Field("item", rows=3),),
    tasks=(
        Task("click"),
        Task("order", space="click", also_report=("all",)),
        Task("seconds", kind="regression"),
    ),
)


def test_selection():
    click, order, seconds = SCHEMA.tasks
    results = {
        "click@all": {"auc": 0.7, "logloss": 0.1},
        "order@click": {"auc": 0.8},
        "order@all": {"auc": 0.99},  # not the order task's own space
        "seconds@all": {"r2": 0.3, "rmse": 9.0},
    }
    assert selection.selection_value(click, results["click@all"]) == 0.7
    assert selection.selection_value(seconds, results["seconds@all"]) == 0.3
    np.testing.assert_allclose(selection.mean_selection(results, SCHEMA), (0.7 + 0.8 + 0.3) / 3)
    results["order@click"] = {"auc": None}
    assert selection.selection_value(order, results["order@click"]) is None
    np.testing.assert_allclose(selection.mean_selection(results, SCHEMA), (0.7 + 0.3) / 2)
    nothing = {k: {"auc": None, "r2": None} for k in results}
    assert selection.mean_selection(nothing, SCHEMA) is None
    with pytest.raises(KeyError, match="order@click"):
        selection.mean_selection({k: results[k] for k in ("click@all", "seconds@all")}, SCHEMA)
