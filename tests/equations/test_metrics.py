"""All metrics of a task together, and each against its definition or scikit-learn: AUC, precision,
calibration, log loss, regression."""

import math

import jaxtyping
import numpy as np
import pytest
import sklearn.metrics
from scored_rows import of_arrays, scored_rows

from dtn_jax.errors import UserError
from dtn_jax.metrics import METRICS, Rows, calibration, measure
from dtn_jax.metrics import inputs as metric_inputs
from dtn_jax.metrics import log_loss as losses
from dtn_jax.metrics import regression as xauc_file
from dtn_jax.metrics.auc import auc
from dtn_jax.metrics.rates import wilson
from dtn_jax.metrics.regression import xauc
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.metrics.spaces import SURE, logits_in
from dtn_jax.schema import Field, Schema, Task

RATIOS = ("auc", "average_precision", "logloss", "normalised_entropy", "ece")
RATIOS += ("predicted_observed", "base_rate")
SHAPES = (ValueError, jaxtyping.TypeCheckError)  # the latter where annotations are checked


def binary(logits, labels, weights, bins, group=None):
    return measure(Rows("binary", logits, labels, weights, group, bins))


def regression(predictions, labels, weights=None):
    return measure(Rows("regression", predictions, labels, weights))


def test_a_weight_counts_as_copies_and_weight_0_as_absence():
    logits, labels, _ = scored_rows(60, seed=5, ties=True)
    weights = np.random.default_rng(0).integers(0, 4, size=60)
    copies = np.repeat(np.arange(60), weights)
    weighted = binary(logits, labels, weights.astype(float), 5)
    copied = binary(logits[copies], labels[copies], None, 5)
    for name in RATIOS:
        np.testing.assert_allclose(weighted[name], copied[name], rtol=1e-12)
    assert weighted["examples"] == np.count_nonzero(weights)
    assert weighted["positives"] == np.count_nonzero(weights[labels == 1])
    seconds = np.random.default_rng(1).normal(size=60)
    weighted = regression(logits, seconds, weights.astype(float))
    copied = regression(logits[copies], seconds[copies], None)
    for name in ("rmse", "mae", "r2", "xauc"):
        np.testing.assert_allclose(weighted[name], copied[name], rtol=1e-12)


def test_binary_metrics():
    logits, labels, _ = scored_rows(500, seed=6)
    got = binary(logits.astype(np.float32), labels, None, 15)
    assert list(got) == [name for name, m in METRICS.items() if m.fits("binary", grouped=False)]
    assert got.keys() >= {"auc", "average_precision", "logloss", "ece"}
    assert got["examples"] == 500
    assert got["positives"] == labels.sum()
    np.testing.assert_allclose(got["base_rate"], labels.mean(dtype=float), rtol=1e-12)
    np.testing.assert_allclose(got["mean_prediction"], sigmoid(logits).mean(), rtol=1e-6)
    assert all(type(v) in (float, int) for v in got.values())  # JSON takes them


def test_chunks_change_no_metric(monkeypatch):
    logits, labels, weights = scored_rows(300, seed=9, ties=True)
    group = np.random.default_rng(1).integers(0, 20, 300)
    for w in (None, weights):
        whole = binary(logits, labels, w, 7, group)
        with monkeypatch.context() as patched:
            patched.setattr(metric_inputs, "CHUNK", 7)
            cut = binary(logits, labels, w, 7, group)
        assert whole.keys() == cut.keys()
        for name, value in whole.items():
            if value is not None:
                np.testing.assert_allclose(cut[name], value, rtol=1e-12, err_msg=name)


OF_CLASSES = ["auc", "gauc"]  # that need both
OF_POSITIVES = ["ndcg_at_5", "ndcg_at_10", "mrr", "recall_at_5", "recall_at_10"]
OF_POSITIVES += ["average_precision", "predicted_observed"]
OF_ROWS = ["logloss", "ece", "mean_prediction", "base_rate"]
ENTROPY = "normalised_entropy"


@pytest.mark.parametrize(
    ("labels", "weights", "undefined"),
    [
        ([], None, [*OF_CLASSES, *OF_POSITIVES, *OF_ROWS, ENTROPY]),
        ([0, 1], [0, 0], [*OF_CLASSES, *OF_POSITIVES, *OF_ROWS, ENTROPY]),
        ([0, 0, 0], None, [*OF_CLASSES, *OF_POSITIVES, ENTROPY]),
        ([0, 1, 0], [1, 0, 1], [*OF_CLASSES, *OF_POSITIVES, ENTROPY]),
        ([1, 1, 1], None, [*OF_CLASSES, ENTROPY]),
    ],
)
def test_what_is_not_defined_is_none_never_nan(labels, weights, undefined):
    labels, weights = (None if a is None else np.array(a, float) for a in (labels, weights))
    zeros, counted = np.zeros(len(labels)), np.ones(len(labels)) if weights is None else weights
    got = binary(zeros, labels, weights, 5, zeros.astype(int))
    assert {name for name, value in got.items() if value is None} == set(undefined)
    assert not np.isnan([value for value in got.values() if value is not None]).any()
    assert got["examples"] == np.count_nonzero(counted)
    assert got["positives"] == np.count_nonzero(labels * counted)
    skipped = int(counted.any())  # the only group
    assert (got["gauc_groups"], got["gauc_skipped"]) == (0, skipped)
    if not skipped:
        assert calibration.calibration_curve(zeros, labels, 5, weights) is None
        assert regression(zeros, labels, weights) == dict.fromkeys(
            ("xauc", "rmse", "mae", "r2"), None
        ) | {"examples": 0}


def test_of_positives_alone_precision_is_1_and_predictions_may_be_too_low():
    got = binary(np.zeros(3), np.ones(3), None, 5)
    assert (got["average_precision"], got["predicted_observed"]) == (1, 0.5)


@pytest.mark.parametrize(
    "function", [auc, regression, lambda *a: binary(a[0], a[1], a[2] if len(a) > 2 else None, 5)]
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


def test_wrong_labels_are_named():
    half = np.full(3, 0.5)
    for labels in (np.array([0, 1, 2.0]), np.array([0, 1, np.nan])):
        with pytest.raises(ValueError, match="1 of 3 labels are neither 0 nor 1"):
            auc(half, labels)
    with pytest.raises(ValueError, match="1 of 3 labels are not finite"):
        regression(half, np.array([0, 1, np.nan]))


@pytest.mark.parametrize(
    ("name", "best"), [("auc", 3.0), ("logloss", 0.2), ("predicted_observed", 1.5)]
)
def test_the_best_of_values(name, best):
    assert METRICS[name].best([3.0, 0.2, 1.5]) == best
    assert METRICS[name].best([]) is None
    assert METRICS[name].judges
    assert not METRICS["base_rate"].judges


# In spaces.

FUNNEL = Schema(
    "shop",
    (Field("item", rows=3),),
    (
        Task("click"),
        Task("cart", upstream=("click",), also_report=("click",)),
        Task("order", upstream=("cart",), space="cart", also_report=("all", "click")),
        Task("seconds", kind="regression", also_report=("click",)),
    ),
)


def logit(p):
    return np.log(p / (1 - p))


def test_probabilities_are_those_of_a_funnel_whatever_space_each_was_trained_in():
    """Drawn as a chain p(click), p(cart | click), p(order | cart), from which all others follow."""
    rng = np.random.default_rng(0)
    click, cart, order = rng.uniform(0.05, 0.95, (3, 100))
    z = np.stack([logit(click), logit(click * cart), logit(order), np.full(100, 7.5)], axis=1)
    wanted = {
        ("click", "all"): click,
        ("cart", "all"): click * cart,
        ("cart", "click"): cart,
        ("order", "cart"): order,
        ("order", "click"): cart * order,
        ("order", "all"): click * cart * order,
    }
    for (task, space), p in wanted.items():
        np.testing.assert_allclose(sigmoid(logits_in(space, task, z, FUNNEL)), p, rtol=1e-9)
    rows = rng.random(100) < 0.3
    some = logits_in("click", "cart", z, FUNNEL, rows)
    np.testing.assert_array_equal(some, logits_in("click", "cart", z, FUNNEL)[rows])
    np.testing.assert_array_equal(logits_in("click", "seconds", z, FUNNEL), 7.5)


def test_a_probability_in_a_space_is_exact_where_tiny_and_bounded_where_contradicted():
    click, cart = np.array([-60.0, -20.0, -1.0]), np.array([-61.0, -40.0, 3.0])
    z = np.stack([click, cart, cart, cart], axis=1)
    found = logits_in("click", "cart", z, FUNNEL)
    # p(cart)/p(click): e^-1, e^-20 to first order; the last one is larger than 1.
    np.testing.assert_allclose(found[:2], [logit(np.exp(-1)), -20], rtol=1e-8)
    assert found[2] == pytest.approx(logit(SURE))
    assert np.isfinite(logits_in("click", "cart", 1e4 * np.sign(z), FUNNEL)).all()
    assert logits_in("click", "cart", z.astype(np.float32), FUNNEL).dtype == np.float32


def test_spaces_that_lead_in_a_circle_are_refused():
    tasks = (Task("a", space="b"), Task("b", space="a"))
    with pytest.raises(UserError, match=r"spaces .*circle: a -> b -> a"):
        Schema("round", (Field("item", rows=3),), tasks)


# AUC and average precision, against scikit-learn.


average_precision = of_arrays(METRICS["average_precision"].compute)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ties", [False, True])
def test_auc(dtype, ties):
    logits, labels, weights = scored_rows(300, ties=ties)
    logits = logits.astype(dtype)
    for w in (None, weights):
        expected = sklearn.metrics.roc_auc_score(labels, logits, sample_weight=w)
        np.testing.assert_allclose(auc(logits, labels, w), expected, rtol=1e-10)
    assert auc(logits, labels, np.full(300, 1.0)) == auc(logits, labels)


@pytest.mark.nightly
@pytest.mark.parametrize("ties", [False, True])
def test_ten_million_rows_lose_no_digit(ties):
    logits, labels, _ = scored_rows(10**7, ties=ties)
    logits = logits.astype(np.float32)
    expected = sklearn.metrics.roc_auc_score(labels, logits)
    np.testing.assert_allclose(auc(logits, labels), expected, rtol=1e-12)
    expected = sklearn.metrics.average_precision_score(labels, logits)
    np.testing.assert_allclose(average_precision(logits, labels, None), expected, rtol=1e-9)


@pytest.mark.parametrize("weights", [None, np.ones(4)])
def test_negative_zero_ties_with_zero(weights):
    scores = np.array([-0.0, 0.0, 0.0, -0.0])
    assert auc(scores, np.array([1, 0, 1, 0]), weights) == 0.5


# Average precision.


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_average_precision_is_that_of_scikit_learn(ties, weighted):
    rng = np.random.default_rng(0)
    labels = rng.random(500) < 0.1
    scores = rng.normal(size=500) + labels
    scores = (np.round(scores, 1) if ties else scores).astype(np.float32)
    weights = rng.random(500) + 0.05 if weighted else None
    expected = sklearn.metrics.average_precision_score(labels, scores, sample_weight=weights)
    np.testing.assert_allclose(average_precision(scores, labels, weights), expected, rtol=1e-12)


# Calibration, log loss, normalised entropy and predicted over observed: against definitions.


log_loss = of_arrays(losses.log_loss)


def ece(p, labels, bins, weights=None):
    logits = np.log(p / (1 - p))
    return calibration.expected_calibration_error(
        Rows("binary", logits, labels, weights, bins=bins)
    )


def by_hand_bins(p, labels, bins, weights):
    """{bin: rows} from the definition: the middle of a value's span of cumulated weight."""
    rows = {}
    for value in sorted(set(p)):
        tied = np.flatnonzero(p == value)
        middle = weights[p < value].sum() + weights[tied].sum() / 2
        rows.setdefault(math.floor(bins * middle / weights.sum()), []).extend(tied)
    return rows


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_calibration_follows_its_definition(ties, weighted):
    logits, labels, weights = scored_rows(100, seed=3, ties=ties)
    w = weights if weighted else np.ones(100)
    p = sigmoid(logits)
    bins = by_hand_bins(p, labels, 7, w)
    gap = sum(abs((w[rows] * (p[rows] - labels[rows])).sum()) for rows in bins.values())
    given = weights if weighted else None
    error = ece(p, labels, 7, given)
    np.testing.assert_allclose(error, gap / w.sum(), rtol=1e-10)
    curve = calibration.calibration_curve(p, labels, 7, given)
    for k, b in enumerate(sorted(bins)):
        rows = bins[b]
        assert curve.count[k] == len(rows)
        expected = w[rows].sum() ** 2 / (w[rows] ** 2).sum()
        np.testing.assert_allclose(curve.effective[k], expected, rtol=1e-10)
        for got, values in ((curve.rate, labels), (curve.prediction, p)):
            expected = np.average(values[rows], weights=w[rows])
            np.testing.assert_allclose(got[k], expected, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(curve.base_rate, np.average(labels, weights=w), rtol=1e-10)
    if not ties and not weighted:
        assert np.ptp(curve.count) <= 1  # 100 examples in 7 bins: 14 or 15 each


# Log loss.


def test_log_loss():
    logits, labels, weights = scored_rows(300, seed=2)
    for w in (None, weights):
        expected = sklearn.metrics.log_loss(labels, sigmoid(logits), sample_weight=w)
        np.testing.assert_allclose(log_loss(logits, labels, w), expected, rtol=1e-10)


def test_log_loss_does_not_clip_or_overflow():
    # certain and wrong costs |z|; certain and right exp(-|z|)
    assert log_loss(np.array([-1000.0, 1000.0]), np.array([1, 0])) == 1000
    np.testing.assert_allclose(
        log_loss(np.array([50.0, -50.0]), np.array([1, 0])), math.exp(-50), rtol=1e-10
    )
    np.testing.assert_allclose(log_loss(np.zeros(3), np.ones(3)), math.log(2), rtol=1e-15)


def test_float32_logits_are_summed_in_float64():
    logits = np.full(1_000_000, 0.1, np.float32)
    expected = math.log1p(math.exp(float(np.float32(0.1))))
    np.testing.assert_allclose(log_loss(logits, np.zeros(10**6)), expected, rtol=1e-12)


# Ratios.


def predicted(rows=400):
    """Labels of other odds than the logits say."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=rows) - 1
    return logits, rng.random(rows) < sigmoid(0.5 * logits), rng.random(rows) + 0.05


@pytest.mark.parametrize("weighted", [False, True])
def test_ratios_to_the_base_rate(weighted):
    """Of the log loss, and of the sum of predictions to that of labels."""
    logits, labels, weights = predicted()
    w = weights if weighted else None
    got = measure(Rows("binary", logits, labels, w))
    constant = np.full(len(labels), np.average(labels, weights=w))
    losses = [
        sklearn.metrics.log_loss(labels, p, sample_weight=w) for p in (sigmoid(logits), constant)
    ]
    np.testing.assert_allclose(got["normalised_entropy"], losses[0] / losses[1], rtol=1e-12)
    expected = np.average(sigmoid(logits), weights=w) / constant[0]
    np.testing.assert_allclose(got["predicted_observed"], expected, rtol=1e-12)
    assert got["predicted_observed"] != pytest.approx(1, rel=0.05)
    base_rate = np.log(constant / (1 - constant))
    got = measure(Rows("binary", base_rate, labels, w))
    np.testing.assert_allclose(got["normalised_entropy"], 1, rtol=1e-12)
    np.testing.assert_allclose(got["predicted_observed"], 1, rtol=1e-12)


def test_wilson():
    # n = 10, p = 0, z = 2: centre 4/20 / (1 + 4/10) = 1/7, half width the same: [0, 2/7]
    # n = 4, p = 1/2, z = 2: centre (1/2 + 1/2) / 2 = 1/2; sqrt(1/16 + 4/64) 2 / 2 = 1/sqrt(8)
    low, high = wilson(np.array([0.0, 0.5]), np.array([10, 4]), z=2.0)
    np.testing.assert_allclose(low, [0, 0.5 - 8**-0.5], atol=1e-15)
    np.testing.assert_allclose(high, [2 / 7, 0.5 + 8**-0.5])


# Metrics of a regression against scikit-learn and all pairs.


def test_regression_metrics():
    rng = np.random.default_rng(7)
    labels = rng.normal(size=100)
    predictions, weights = labels + 0.3 * rng.normal(size=100), rng.random(100)
    for w in (None, weights):
        got = regression(predictions, labels, w)
        arguments = {"y_true": labels, "y_pred": predictions, "sample_weight": w}
        for name, function in (
            ("rmse", sklearn.metrics.root_mean_squared_error),
            ("mae", sklearn.metrics.mean_absolute_error),
            ("r2", sklearn.metrics.r2_score),
        ):
            np.testing.assert_allclose(got[name], function(**arguments), rtol=1e-10)


def test_r2_of_a_constant_label_is_not_defined():
    got = regression(np.arange(7.0), np.full(7, 0.1))
    assert got["r2"] is None
    assert got["rmse"] > 0


# XAUC.


def ordered(scores, labels, weights=None):
    return xauc(Rows("regression", scores, labels, weights))


def over_pairs(scores, labels, weights):
    """The definition, pair by pair."""
    w = np.ones(len(scores)) if weights is None else weights
    pairs = w[:, None] * w * (labels[:, None] > labels)
    won = (scores[:, None] > scores) + (scores[:, None] == scores) / 2
    return (pairs * won).sum() / pairs.sum()


@pytest.mark.parametrize("rows", [2, 3, 9, 500])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_xauc_is_the_share_of_pairs_in_order(rows, ties, weighted, monkeypatch):
    rng = np.random.default_rng(rows)
    labels = rng.exponential(30, rows)
    scores = (labels + 30 * rng.normal(size=rows)).astype(np.float32)
    if ties:
        scores, labels = np.round(scores / 30), np.round(labels / 20)
        labels[0] = 99  # two values at least
    weights = rng.random(rows) + 0.05 if weighted else None
    expected = over_pairs(scores, labels, weights)
    for block in (16, 5, 1):
        monkeypatch.setattr(xauc_file, "BLOCK", block)
        got = ordered(scores, labels, weights)
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)


def test_zeros_of_both_signs_are_equal_and_equal_labels_have_no_order():
    assert ordered(np.array([-0.0, 0.0]), np.array([1.0, 2])) == 0.5
    assert ordered(np.zeros(0), np.zeros(0)) is None
    assert ordered(np.arange(5.0), np.full(5, 0.1)) is None
    assert ordered(np.arange(3.0), np.array([1.0, 1, 2]), np.array([1.0, 1, 0])) is None
