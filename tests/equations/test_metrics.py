"""All metrics of a task together: which there are, weights, memory, what is not defined; a task's
probability in a space that is not that of its loss."""

import jaxtyping
import numpy as np
import pytest
from scored_rows import scored_rows

from dtn_jax.errors import UserError
from dtn_jax.metrics import METRICS, Rows, calibration, measure
from dtn_jax.metrics import inputs as metric_inputs
from dtn_jax.metrics.auc import auc
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
    "function",
    [
        auc,
        regression,
        lambda *a: binary(a[0], a[1], a[2] if len(a) > 2 else None, 5),
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


def logits_of(click, cart, order_of_cart):
    columns = [logit(click), logit(cart), logit(order_of_cart), np.full(len(click), 7.5)]
    return np.stack(columns, axis=1)


def test_probabilities_are_those_of_a_funnel_whatever_space_each_was_trained_in():
    """Drawn as a chain p(click), p(cart | click), p(order | cart), from which all others follow."""
    rng = np.random.default_rng(0)
    click, cart, order = rng.uniform(0.05, 0.95, (3, 100))
    z = logits_of(click, click * cart, order)
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
