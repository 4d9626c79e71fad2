"""From a split's scores to its metrics and predictions; groups all the way from raw rows."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from plugin import Shop, visits

from configs import adult as adult_config
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.sets import catalog
from dtn_jax.metrics import Rows
from dtn_jax.metrics.auc import auc
from dtn_jax.metrics.scores import Scores, write_predictions
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.metrics.within_groups import gauc
from dtn_jax.run.evaluate import evaluate
from dtn_jax.run.train import train
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


def scores(rows=200, grouped=True):
    rng = np.random.default_rng(0)
    labels = (rng.random((rows, 3)) < 0.5).astype(np.float32)
    return Scores(
        logits=rng.normal(size=(rows, 3)).astype(np.float32),
        labels=labels,
        label_mask=rng.random((rows, 3)) < [1, 0.9, 0.9],
        sample_weight=rng.random(rows).astype(np.float32),
        group=rng.integers(0, 20, rows) if grouped else None,
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


def test_without_groups_there_is_no_such_metric(tmp_path):
    given = scores(grouped=False)
    assert all("gauc" not in found for found in evaluate(given, SCHEMA, 5, False).values())
    write_predictions(tmp_path / "p.parquet", given, SCHEMA)
    assert "group" not in pq.read_table(tmp_path / "p.parquet").column_names


def test_a_space_of_every_row_is_not_copied():
    given = scores()
    picked = given.of("click", "all", SCHEMA)
    assert all(
        np.shares_memory(a, b)
        for a, b in zip(
            picked, (given.logits, given.labels, given.sample_weight, given.group), strict=True
        )
    )


@pytest.mark.slow
def test_a_run_on_grouped_rows_reports_them(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(catalog.DATASETS, "shop", Shop)
    reads = []
    groups = Prepared.groups

    def read(self, split, part):
        reads.append(split)
        return groups(self, split, part)

    monkeypatch.setattr(Prepared, "groups", read)
    config = adult_config.get_config("model.architecture=shared_bottom")
    config.data.dataset, config.data.data_dir = "shop", str(tmp_path / "data")
    config.data.batch_size = 64
    config.model.experts, config.model.embedding_dim = "mlp", 4
    config.train.max_steps, config.train.eval_every = 6, 2
    config.parallel.devices = 1
    results = train(config, tmp_path / "run")
    assert sorted(reads) == ["test", "validation"]  # once each, though validated three times
    found = pq.read_table(tmp_path / "run/predictions.parquet").to_pydict()
    user = visits(2, 1000)["visitor"]
    pairs = set(zip(user, found["group"], strict=True))
    assert len(pairs) == user.n_unique() == len(set(found["group"]))
    columns = (np.asarray(found[name]) for name in ("logit/click", "label/click", "group"))
    logits, labels, group = columns
    expected = gauc(Rows("binary", logits, labels, None, group))
    test = results["test"]["click@all"]
    assert (test["gauc"], test["gauc_groups"], test["gauc_skipped"]) == expected
    assert test["gauc_groups"] > 20
    assert {"gauc", "gauc_groups"} <= set(results["validation"]["click@all"])
    assert json.loads((tmp_path / "run/results.json").read_text())["test"] == results["test"]
    assert "GAUC" in capsys.readouterr().out
