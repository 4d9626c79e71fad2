"""Average precision against scikit-learn and by hand."""

import numpy as np
import pytest
import sklearn.metrics

from dtn_jax.metrics import inputs
from dtn_jax.metrics.average_precision import average_precision


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_that_of_scikit_learn(ties, weighted, dtype, monkeypatch):
    rng = np.random.default_rng(0)
    labels = rng.random(500) < 0.1
    scores = rng.normal(size=500) + labels
    scores = (np.round(scores, 1) if ties else scores).astype(dtype)
    weights = rng.random(500) + 0.05 if weighted else None
    expected = sklearn.metrics.average_precision_score(labels, scores, sample_weight=weights)
    np.testing.assert_allclose(average_precision(scores, labels, weights), expected, rtol=1e-12)
    monkeypatch.setattr(inputs, "CHUNK", 7)
    np.testing.assert_allclose(average_precision(scores, labels, weights), expected, rtol=1e-12)


def test_by_hand():
    # positives at 3 (precision 1/1) and at 2, which a negative ties (2/3)
    scores, labels = np.array([3.0, 2, 2, 1]), np.array([1, 1, 0, 0])
    np.testing.assert_allclose(average_precision(scores, labels), (1 + 2 / 3) / 2)
    # weights 1, 3 of the positives, 2 of the negative: (1 * 1 + 3 * (1 + 3) / (1 + 3 + 2)) / 4
    weights = np.array([1.0, 3, 2, 5])
    np.testing.assert_allclose(average_precision(scores, labels, weights), 3 / 4)


def test_one_class():
    assert average_precision(np.arange(3.0), np.zeros(3)) is None
    assert average_precision(np.arange(3.0), np.ones(3)) == 1
    assert average_precision(np.arange(3.0), np.array([0, 1, 0]), np.array([1.0, 0, 1])) is None
