"""From a split's scores to its metrics and predictions."""

import numpy as np
import pytest

from dtn_jax.metrics import Rows
from dtn_jax.metrics.auc import auc
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.metrics.within_groups import gauc
from dtn_jax.run.evaluate import evaluate
from dtn_jax.schema import Field, Schema, Task

SCHEMA = Schema(
    "shop",
    fields=(Field("item", rows=3),),
    tasks=(
        Task("click"),
        Task("order", space="click", also_report=("all",)),
        Task("seconds", kind="regression"),
    ),
    group="user",
)


def scores(rows=200):
    rng = np.random.default_rng(0)
    labels = (rng.random((rows, 3)) < 0.5).astype(np.float32)
    return Scores(
        logits=rng.normal(size=(rows, 3)).astype(np.float32),
        labels=labels,
        label_mask=rng.random((rows, 3)) < [1, 0.9, 0.9],
        sample_weight=rng.random(rows).astype(np.float32),
        group=rng.integers(0, 20, rows),
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_within_groups_are_taken_on_the_rows_of_the_space(weighted):
    given = scores()
    got = evaluate(given, SCHEMA, 5, weighted)
    click, known = given.labels[:, 0] == 1, given.label_mask
    masks = {"click@all": known[:, 0], "order@click": known[:, 1] & click, "order@all": known[:, 1]}
    for key, mask in masks.items():
        column = SCHEMA.task_names.index(key.partition("@")[0])
        weights = given.sample_weight[mask] if weighted else None
        logits = given.logits[mask, column]
        if key == "order@all":  # the loss of order is in the space of clicks
            p = sigmoid(given.logits[mask, 0]) * sigmoid(logits)
            logits = np.float32(np.log(p / (1 - p)))
        arrays = logits, given.labels[mask, column], weights
        value, groups, skipped = gauc(Rows("binary", *arrays, given.group[mask]))
        assert got[key]["gauc"] == pytest.approx(value, rel=1e-14)
        assert (got[key]["gauc_groups"], got[key]["gauc_skipped"]) == (groups, skipped)
        assert got[key]["auc"] == pytest.approx(auc(*arrays), rel=1e-14)
    assert "gauc" not in got["seconds@all"]
