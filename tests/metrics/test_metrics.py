"""Metrics against scikit-learn, brute force over pairs, and hand-computed numbers."""

import math
import tracemalloc

import jaxtyping
import numpy as np
import pytest
import sklearn.metrics

from dtn_jax.metrics import calibration
from dtn_jax.metrics import inputs as metric_inputs
from dtn_jax.metrics import ranking as metrics
from dtn_jax.metrics.gauc import gauc

SHAPES = (ValueError, jaxtyping.TypeCheckError)  # the latter where annotations are checked


def example(rows, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=rows) - 1
    if ties:
        logits = np.round(logits)
    labels = (rng.random(rows) < metrics.sigmoid(0.8 * logits)).astype(np.float32)
    return logits, labels, rng.random(rows) + 0.05


def pairs(scores, labels, weights):
    """AUC by comparing every positive with every negative."""
    won = (scores[:, None] > scores) + 0.5 * (scores[:, None] == scores)
    weight = np.outer(weights * (labels == 1), weights * (labels == 0))
    return (won * weight).sum() / weight.sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ties", [False, True])
def test_auc(dtype, ties):
    logits, labels, weights = example(300, ties=ties)
    logits = logits.astype(dtype)
    for w in (None, weights):
        expected = sklearn.metrics.roc_auc_score(labels, logits, sample_weight=w)
        np.testing.assert_allclose(metrics.auc(logits, labels, w), expected, rtol=1e-10)
        brute = pairs(logits, labels, np.ones(300) if w is None else w)
        np.testing.assert_allclose(metrics.auc(logits, labels, w), brute, rtol=1e-10)
    assert metrics.auc(logits, labels, np.full(300, 1.0)) == metrics.auc(logits, labels)


def test_auc_by_hand():
    # positives 3, 2; negatives 2, 1: pairs 3>2, 3>1, 2=2, 2>1 are 1 + 1 + 1/2 + 1 of 4
    scores, labels = np.array([3.0, 2, 2, 1]), np.array([1, 1, 0, 0])
    assert metrics.auc(scores, labels) == 3.5 / 4
    # weights 1, 2 (positives), 3, 5: 1*3 + 1*5 + 2*3/2 + 2*5 = 21 of (1 + 2) * (3 + 5) = 24
    assert metrics.auc(scores, labels, np.array([1.0, 2, 3, 5])) == 21 / 24
    assert metrics.auc(-scores, labels) == 0.5 / 4
    assert metrics.auc(np.zeros(4), labels) == 0.5


@pytest.mark.parametrize("weights", [None, np.ones(4)])
def test_negative_zero_ties_with_zero(weights):
    scores = np.array([-0.0, 0.0, 0.0, -0.0])
    assert metrics.auc(scores, np.array([1, 0, 1, 0]), weights) == 0.5


def test_auc_ignores_increasing_maps_and_order_of_rows():
    logits, labels, _ = example(200, seed=1)
    expected = metrics.auc(logits, labels)
    assert metrics.auc(np.exp(logits), labels) == expected
    order = np.random.default_rng(0).permutation(200)
    assert metrics.auc(logits[order], labels[order]) == expected


def test_log_loss():
    logits, labels, weights = example(300, seed=2)
    for w in (None, weights):
        expected = sklearn.metrics.log_loss(labels, metrics.sigmoid(logits), sample_weight=w)
        np.testing.assert_allclose(metrics.log_loss(logits, labels, w), expected, rtol=1e-10)


def test_log_loss_does_not_clip_or_overflow():
    # certain and wrong costs |z|; certain and right exp(-|z|)
    assert metrics.log_loss(np.array([-1000.0, 1000.0]), np.array([1, 0])) == 1000
    np.testing.assert_allclose(
        metrics.log_loss(np.array([50.0, -50.0]), np.array([1, 0])), math.exp(-50), rtol=1e-10
    )
    np.testing.assert_allclose(metrics.log_loss(np.zeros(3), np.ones(3)), math.log(2), rtol=1e-15)


def test_float32_logits_are_summed_in_float64():
    logits = np.full(1_000_000, 0.1, np.float32)
    expected = math.log1p(math.exp(float(np.float32(0.1))))
    np.testing.assert_allclose(metrics.log_loss(logits, np.zeros(10**6)), expected, rtol=1e-12)


def test_a_weight_counts_as_copies_and_weight_0_as_absence():
    logits, labels, _ = example(60, seed=5, ties=True)
    weights = np.random.default_rng(0).integers(0, 4, size=60)
    copies = np.repeat(np.arange(60), weights)
    weighted = metrics.binary_metrics(logits, labels, weights.astype(float), 5)
    copied = metrics.binary_metrics(logits[copies], labels[copies], None, 5)
    for name in ("auc", "logloss", "ece", "base_rate", "mean_prediction"):
        np.testing.assert_allclose(weighted[name], copied[name], rtol=1e-12)
    assert weighted["examples"] == np.count_nonzero(weights)
    assert weighted["positives"] == np.count_nonzero(weights[labels == 1])
    seconds = np.random.default_rng(1).normal(size=60)
    weighted = metrics.regression_metrics(logits, seconds, weights.astype(float))
    copied = metrics.regression_metrics(logits[copies], seconds[copies], None)
    for name in ("rmse", "mae", "r2"):
        np.testing.assert_allclose(weighted[name], copied[name], rtol=1e-12)


def test_binary_metrics():
    logits, labels, _ = example(500, seed=6)
    got = metrics.binary_metrics(logits.astype(np.float32), labels, None, 15)
    assert list(got) == [
        *(
            "auc",
            "auc_se",
            "logloss",
            "ece",
            "positives",
            "examples",
            "base_rate",
            "mean_prediction",
        )
    ]
    assert got["examples"] == 500
    assert got["positives"] == labels.sum()
    np.testing.assert_allclose(got["base_rate"], labels.mean(dtype=float), rtol=1e-12)
    np.testing.assert_allclose(got["mean_prediction"], metrics.sigmoid(logits).mean(), rtol=1e-6)
    assert all(type(v) in (float, int) for v in got.values())  # JSON takes them


def test_groups_add_their_metrics():
    logits, labels, weights = example(500, seed=6)
    group = np.random.default_rng(0).integers(0, 60, 500)
    for w in (None, weights):
        plain = metrics.binary_metrics(logits, labels, w, 15)
        got = metrics.binary_metrics(logits, labels, w, 15, group)
        within = gauc(logits, labels, group, w)
        assert got == plain | {
            "gauc": within.value,
            "gauc_groups": within.groups,
            "gauc_skipped": within.skipped,
        }
        assert within.groups > 50


@pytest.mark.parametrize("weighted", [False, True])
def test_memory_is_bounded(weighted):
    """As metrics.py says: 32 bytes a row, and twice that with weights, beside what is given."""
    rows = 600_000
    logits, labels, weights = example(rows, seed=8)
    logits, weights = logits.astype(np.float32), weights.astype(np.float32)
    group = np.random.default_rng(0).integers(0, rows // 2, rows)
    tracemalloc.start()
    metrics.binary_metrics(logits, labels, weights if weighted else None, 15, group)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    chunk = 6 * 8 * metric_inputs.CHUNK
    assert peak < (64 if weighted else 32) * rows + chunk


def test_chunks_change_no_metric(monkeypatch):
    logits, labels, weights = example(300, seed=9, ties=True)
    group = np.random.default_rng(1).integers(0, 20, 300)
    for w in (None, weights):
        whole = metrics.binary_metrics(logits, labels, w, 7, group)
        with monkeypatch.context() as patched:
            patched.setattr(metric_inputs, "CHUNK", 7)
            cut = metrics.binary_metrics(logits, labels, w, 7, group)
        assert whole.keys() == cut.keys()
        for name, value in whole.items():
            if value is not None:
                np.testing.assert_allclose(cut[name], value, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class(label):
    logits = example(20)[0]
    got = metrics.binary_metrics(logits, np.full(20, label), None, 5)
    assert got["auc"] is None
    assert got["base_rate"] == label
    assert got["positives"] == 20 * label
    assert None not in (got["logloss"], got["ece"], got["mean_prediction"])


@pytest.mark.parametrize("weights", [None, np.zeros(3)])
def test_no_example_is_none_never_nan(weights):
    rows = 0 if weights is None else 3
    got = metrics.binary_metrics(np.zeros(rows), np.zeros(rows), weights, 5)
    assert got["examples"] == got["positives"] == 0
    for name in ("auc", "logloss", "ece", "base_rate", "mean_prediction"):
        assert got[name] is None
    assert calibration.calibration_curve(np.zeros(rows), np.zeros(rows), 5, weights) is None
    got = metrics.regression_metrics(np.zeros(rows), np.zeros(rows), weights)
    assert got == {"rmse": None, "mae": None, "r2": None, "examples": 0}


def test_regression_metrics():
    rng = np.random.default_rng(7)
    labels = rng.normal(size=100)
    predictions, weights = labels + 0.3 * rng.normal(size=100), rng.random(100)
    for w in (None, weights):
        got = metrics.regression_metrics(predictions, labels, w)
        arguments = {"y_true": labels, "y_pred": predictions, "sample_weight": w}
        for name, function in (
            ("rmse", sklearn.metrics.root_mean_squared_error),
            ("mae", sklearn.metrics.mean_absolute_error),
            ("r2", sklearn.metrics.r2_score),
        ):
            np.testing.assert_allclose(got[name], function(**arguments), rtol=1e-10)
    # errors 1, -1, 2; squares 1 + 1 + 4; labels 0, 2, 4 deviate by 4 + 0 + 4
    got = metrics.regression_metrics(np.array([1.0, 1, 6]), np.array([0.0, 2, 4]))
    np.testing.assert_allclose(got["rmse"], math.sqrt(2))
    np.testing.assert_allclose(got["mae"], 4 / 3)
    np.testing.assert_allclose(got["r2"], 1 - 6 / 8)


def test_r2_of_a_constant_label_is_not_defined():
    got = metrics.regression_metrics(np.arange(7.0), np.full(7, 0.1))
    assert got["r2"] is None
    assert got["rmse"] > 0


@pytest.mark.parametrize(
    "function",
    [
        metrics.auc,
        metrics.log_loss,
        metrics.regression_metrics,
        lambda *a: metrics.binary_metrics(a[0], a[1], a[2] if len(a) > 2 else None, 5),
    ],
)
def test_wrong_input_is_named(function):
    scores, labels = np.array([0.5, np.nan, np.inf, 0.2]), np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match="2 of 4 scores are not finite"):
        function(scores, labels)
    with pytest.raises(SHAPES):
        function(np.zeros(4), np.zeros(3))
    with pytest.raises(ValueError, match="1 of 4 weights are negative"):
        function(np.zeros(4), labels, np.array([1.0, -1, 1, 1]))
    with pytest.raises(ValueError, match="1 of 4 weights are not finite"):
        function(np.zeros(4), labels, np.array([1.0, np.nan, 1, 1]))


def test_wrong_labels_probabilities_and_bins_are_named():
    half = np.full(3, 0.5)
    for labels in (np.array([0, 1, 2.0]), np.array([0, 1, np.nan])):
        with pytest.raises(ValueError, match="1 of 3 labels are neither 0 nor 1"):
            metrics.auc(half, labels)
    with pytest.raises(ValueError, match="1 of 3 labels are not finite"):
        metrics.regression_metrics(half, np.array([0, 1, np.nan]))
    with pytest.raises(ValueError, match="2 of 3 probabilities are outside"):
        calibration.calibration_curve(np.array([-0.1, 0.5, 1.1]), np.zeros(3), 5)
    with pytest.raises(ValueError, match="got 0 bins"):
        calibration.expected_calibration_error(half, np.zeros(3), 0)


def test_the_standard_error_is_the_spread_over_samples():
    """Against the spread of the AUC over fresh samples, and by the definition on a few rows."""
    rng = np.random.default_rng(0)

    def sample():
        labels = rng.random(400) < 0.2
        return np.round(rng.normal(size=400) + labels, 1), labels

    drawn = [sample() for _ in range(400)]
    spread = np.std([metrics.auc(*pair) for pair in drawn])
    mean = np.mean([metrics.auc_standard_error(*pair) for pair in drawn])
    np.testing.assert_allclose(mean, spread, rtol=0.1)
    # positives 3, 1 and negatives 2, 1, 0: a = (1, 1/2), b = (1/2, 3/4, 1)
    scores, labels = np.array([3.0, 1, 2, 1, 0]), np.array([1, 1, 0, 0, 0])
    expected = np.sqrt(0.125 / 2 + 0.0625 / 3)
    np.testing.assert_allclose(metrics.auc_standard_error(scores, labels), expected)
    assert metrics.auc_standard_error(scores[1:], labels[1:]) is None
