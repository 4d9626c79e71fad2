"""What a task is scored by in an analysis: against metrics, and its derivative."""

import numpy as np
import pytest
from tiny_runs import SCHEMA, rows

from dtn_jax.analysis import quality
from dtn_jax.metrics import auc as metrics
from dtn_jax.metrics import regression
from dtn_jax.metrics.metric import Rows


@pytest.mark.parametrize("weighted", [False, True])
def test_auc_is_that_of_metrics_and_its_influence_its_derivative(weighted):
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 20, 60).astype(np.float32)  # many ties
    labels = (rng.random(60) < 0.4).astype(np.float32)
    weights = rng.random(60) + 0.1 if weighted else None
    value, psi = quality.auc(scores, labels, weights)
    assert value == pytest.approx(metrics.auc(scores, labels, weights), rel=1e-13)
    base = np.ones(60) if weights is None else weights
    for i in (0, 7, 31, 59):  # psi_i = w_i dAUC/dw_i
        ends = [
            metrics.auc(scores, labels, base * (1 + sign * 1e-5 * (np.arange(60) == i)))
            for sign in (1, -1)
        ]
        assert psi[i] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=1e-9)
    if not weighted:
        error = metrics.auc_standard_error(scores, labels)
        assert np.sqrt((psi**2).sum()) == pytest.approx(error, rel=0.03)  # n for n - 1


@pytest.mark.parametrize("weighted", [False, True])
def test_r2_is_that_of_metrics(weighted):
    rng = np.random.default_rng(0)
    labels, noise = rng.normal(size=(2, 50))
    weights = rng.random(50) if weighted else None
    value, psi = quality.r2(labels + noise, labels, weights)
    assert value == pytest.approx(
        regression.r2(Rows("regression", labels + noise, labels, weights))
    )
    assert psi.sum() == pytest.approx(0, abs=1e-12)


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
