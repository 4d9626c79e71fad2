"""Importance by task against loops, and what a task is scored by against metrics."""

import dataclasses

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict, FrozenConfigDict
from sklearn.metrics import roc_auc_score
from tiny_runs import SCHEMA, B, rows, tiny

from dtn_jax.analysis import importance, quality
from dtn_jax.analysis.importance import Sample
from dtn_jax.analysis.passes import Passes
from dtn_jax.analysis.sample import read_sample
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.sets import catalog
from dtn_jax.errors import UserError
from dtn_jax.metrics import Units, regression
from dtn_jax.metrics.auc import auc
from dtn_jax.metrics.metric import Rows
from dtn_jax.metrics.spaces import SURE


@pytest.fixture(scope="module")
def model():
    with jax.enable_x64(True):
        yield tiny()


def test_permutation_importance_is_that_of_a_loop(model):
    """Of scores of permuted fields, which are those of a loop in test_analysis_fields.py."""
    keys, _ = quality.keys(SCHEMA, model.rows, weighted=False)
    plain, fields = model.passes.plain(), SCHEMA.field_names
    counted = []
    sample = Sample(plain, keys, fields)
    found = importance.permutation(model.passes.permuted, sample, 2, 7, lambda: counted.append(1))
    assert len(counted) == 2 * len(fields)

    def measured(scores):
        y, z = model.rows.labels, np.asarray(scores)
        p = 1 / (1 + np.exp(-z))
        among = np.minimum(p[:, 1] / p[:, 0], SURE)  # of an order among clicks
        clicks = y[:, 0] == 1
        aucs = [roc_auc_score(y[:, task], z[:, task]) for task in (0, 1)]
        aucs.append(roc_auc_score(y[clicks, 1], among[clicks]))
        return np.array([*aucs, 1 - ((z[:, 2] - y[:, 2]) ** 2).mean() / y[:, 2].var()])

    for f, field in enumerate(fields):
        for r in range(2):
            order = np.random.default_rng([7, f, r]).permutation(B)
            expected = measured(plain) - measured(model.passes.permuted(field, order))
            np.testing.assert_allclose(found.values[r, f], expected, rtol=1e-5, atol=1e-10)
    np.testing.assert_allclose(found.mean, found.values.mean(axis=0))
    assert (found.error > 0).all()


def test_importance_of_an_unknown_field_is_what_its_scores_lose(model):
    keys, _ = quality.keys(SCHEMA, model.rows, weighted=False)
    plain = model.passes.plain()
    found = importance.unknown(model.passes.unknown, Sample(plain, keys, SCHEMA.field_names))
    before, after = (
        auc(np.asarray(scores)[:, 0], model.rows.labels[:, 0])
        for scores in (plain, model.passes.unknown("words"))
    )
    assert found.values[0, 1, 0] == pytest.approx(before - after, abs=1e-12)


def test_a_sample_is_a_seeded_draw_of_a_splits_rows(prepared_dir, monkeypatch):
    monkeypatch.setattr("dtn_jax.data.epochs.reader.BLOCKS", 5)
    data = catalog.load("adult", data_dir=prepared_dir)
    everything = SplitReader(data, "validation").everything()
    whole, group = read_sample(data, "validation", 10**9, 0)
    assert group is None
    jax.tree.map(np.testing.assert_array_equal, whole, everything)
    part, again, other = (read_sample(data, "validation", 1_000, s)[0] for s in (3, 3, 4))
    place = np.sort(np.random.default_rng(3).choice(3_256, 1_000, replace=False))
    np.testing.assert_array_equal(part.ids, everything.ids[place])
    np.testing.assert_array_equal(part.labels, everything.labels[place])
    np.testing.assert_array_equal(part.ids, again.ids)
    assert np.any(part.ids != other.ids)
    with pytest.raises(UserError, match="unknown split 'dev'"):
        read_sample(data, "dev", 10, 0)
    with pytest.raises(UserError, match="rows=0: expected at least 1"):
        read_sample(data, "test", 0, 0)


def test_more_rows_than_the_device_may_hold_are_refused(model):
    many = rows(count=9)
    limited = ConfigDict(model.run.config.to_dict())
    limited.data.device_bytes = 8 * model.run.data.row_bytes()
    run = dataclasses.replace(model.run, config=FrozenConfigDict(limited))
    with pytest.raises(UserError, match=r"9 rows take .* take fewer rows"):
        Passes(run, model.state, many)


# ---------------------------------------------------------------- quality


@pytest.mark.parametrize("weighted", [False, True])
def test_r2_is_that_of_metrics(weighted):
    rng = np.random.default_rng(0)
    labels, noise = rng.normal(size=(2, 50))
    weights = rng.random(50) if weighted else None
    given = Rows("regression", labels + noise, labels, weights)
    found = quality.r2(given, Units(50))
    assert found.value == pytest.approx(regression.r2(given))
    assert found.units.sum() == pytest.approx(0, abs=1e-12)


def test_keys_are_the_tasks_in_their_spaces():
    given = rows()
    found, undefined = quality.keys(SCHEMA, given, weighted=False)
    assert [key.name for key in found] == ["click@all", "order@all", "order@click", "stars@all"]
    assert undefined == []
    np.testing.assert_array_equal(found[2].rows, np.flatnonzero(given.labels[:, 0] == 1))
    one_class = given.replace(labels=given.labels * np.float32([1, 0, 1]))
    found, undefined = quality.keys(SCHEMA, one_class, weighted=False)
    assert [key.name for key in found] == ["click@all", "stars@all"]
    assert undefined == ["order@all", "order@click"]
    found, _ = quality.keys(SCHEMA, given, weighted=True)
    np.testing.assert_allclose(found[0].weights, given.sample_weight)
