"""The hierarchical bootstrap: its AUCs, its errors where nothing differs, Holm's correction."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dtn_jax.evaluate import read_predictions, write_predictions
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.significance import Ranking, compare, holm, resampled_aucs
from dtn_jax.metrics.spaces import logits_in
from dtn_jax.schema import Field, Schema, Task

SCHEMA = Schema(
    "s",
    (Field("f", rows=2),),
    (Task("click"), Task("order", space="click", also_report=("all",)), Task("time", "regression")),
)


def made_scores(rows=400, seed=0, group=None):
    rng = np.random.default_rng(seed)
    labels = (rng.random((rows, 3)) < 0.4).astype(np.float32)
    logits = (labels + rng.normal(size=(rows, 3))).round(1).astype(np.float32)  # with ties
    mask = rng.random((rows, 3)) < 0.9
    return Scores(logits, labels, mask, rng.random(rows).astype(np.float32), group)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_resampled_aucs_are_those_of_the_rows_drawn(grouped, weighted):
    group = np.random.default_rng(1).integers(40, size=400) * 7 if grouped else None
    scores = made_scores(group=group)
    found = resampled_aucs(scores, SCHEMA, weighted, draws=5)
    assert list(found) == ["click@all", "order@click", "order@all"]
    rng = np.random.default_rng(0)
    unit = np.unique(group, return_inverse=True)[1] if grouped else np.arange(400)
    units = unit.max() + 1
    for i in range(5):
        picked = rng.integers(units, size=units)
        rows = np.concatenate([np.flatnonzero(unit == u) for u in picked])
        for key, values in found.items():
            task, _, space = key.partition("@")
            column = SCHEMA.task_names.index(task)
            kept = rows[scores.label_mask[rows, column]]
            if space == "click":
                kept = kept[scores.label_mask[kept, 0] & (scores.labels[kept, 0] == 1)]
            logits = logits_in(space, task, scores.logits, SCHEMA, kept)
            w = scores.sample_weight[kept].astype(np.float64) if weighted else None
            expected = roc_auc_score(scores.labels[kept, column], logits, sample_weight=w)
            np.testing.assert_allclose(values[i], expected, rtol=1e-12)


def test_a_draw_without_a_class_has_no_auc():
    ranking = Ranking(np.array([0.1, 0.2, 0.3]), np.array([0, 1, 0]), np.arange(3))
    assert np.isnan(ranking.auc(np.array([1, 0, 2])))
    assert ranking.auc(np.array([1, 1, 1])) == 0.5


def test_groups_make_the_auc_less_certain():
    """Rows that repeat each other tell no more than one of them."""
    once = made_scores(200)
    thrice = Scores(*(np.repeat(a, 3, axis=0) for a in list(vars(once).values())[:4]))
    group = np.repeat(np.arange(200), 3)
    grouped = Scores(*list(vars(thrice).values())[:4], group)
    spread = {
        name: np.std(resampled_aucs(s, SCHEMA, draws=300)["click@all"])
        for name, s in (("once", once), ("thrice", thrice), ("grouped", grouped))
    }
    assert spread["thrice"] < 0.75 * spread["once"]
    np.testing.assert_allclose(spread["grouped"], spread["once"], rtol=1e-6)


def drawn(rng, seeds, draws, level, seed_deviation, example):
    """AUCs `[S, R]` of a model: its level, its seeds' deviations, the examples' (shared)."""
    own = level + seed_deviation * rng.normal(size=seeds)
    return own[:, None] + example[None], own


@pytest.mark.parametrize(
    ("seeds", "scatter", "noise", "low", "high"),
    [
        ((5, 5), (1, 1), "seeds", 0.035, 0.065),
        ((5, 5), (1, 1), "examples", 0.035, 0.065),
        ((5, 5), (1, 1), "both", 0.035, 0.065),
        ((3, 3), (1, 1), "both", 0.015, 0.05),
        ((2, 2), (1, 1), "seeds", 0.005, 0.03),
        ((5, 5), (1, 10), "seeds", 0.035, 0.075),
        ((3, 3), (1, 10), "seeds", 0.03, 0.065),
        ((5, 3), (10, 1), "seeds", 0.03, 0.07),
        ((5, 3), (1, 10), "seeds", 0.03, 0.08),
        ((5, 2), (1, 10), "seeds", 0.03, 0.12),
    ],
)
def test_equal_models_are_told_apart_about_as_often_as_p_says(seeds, scatter, noise, low, high):
    """Of 1000 comparisons of equal models in about 50, or fewer, p < 0.05.

    The sample of examples moves a model's AUC by the same amount for all its seeds, and each seed
    by a little of its own; the draws move about that sample as it moves about the truth. Seeds
    scatter as much in one model as in the other, or not.
    """
    rng = np.random.default_rng(0)
    of_seeds, of_examples = {"seeds": (1, 0), "examples": (0, 1), "both": (1, 1)}[noise]
    found = []
    for _ in range(1000):
        sides, aucs = [], []
        for count, deviation in zip(seeds, scatter):
            own = of_seeds * deviation * rng.normal(size=count) + of_examples * rng.normal()
            own = own + 0.2 * of_examples * rng.normal(size=count)
            draws = of_examples * rng.normal(size=300)
            draws = draws + 0.2 * of_examples * rng.normal(size=(count, 300))
            aucs.append(0.9 + 1e-3 * own)
            sides.append(0.9 + 1e-3 * (own[:, None] + draws))
        found.append(compare(*sides, *aucs, repeats=1000).p)
    assert low < np.mean(np.array(found) < 0.05) < high


def test_a_real_difference_is_found_and_its_interval_holds_it():
    rng = np.random.default_rng(2)
    shared = 2e-3 * rng.normal(size=1000)  # examples that are hard for both
    ours, a = drawn(rng, 5, 1000, 0.903, 1e-4, shared + 2e-4 * rng.normal(size=1000))
    theirs, b = drawn(rng, 5, 1000, 0.900, 1e-4, shared + 2e-4 * rng.normal(size=1000))
    found = compare(ours, theirs, a, b)
    assert found.p == 2 / 1001  # as far down as 1000 draws can tell
    assert found.low < 0.003 < found.high
    assert found.high - found.low < 0.002
    backwards = compare(theirs, ours, b, a)
    assert backwards.difference == -found.difference
    assert backwards.p == found.p


def test_seeds_that_scatter_hide_a_difference():
    rng = np.random.default_rng(3)
    ours, a = drawn(rng, 5, 500, 0.903, 5e-3, np.zeros(500))
    theirs, b = drawn(rng, 5, 500, 0.900, 5e-3, np.zeros(500))
    assert compare(ours, theirs, a, b).p > 0.05


def test_no_interval_says_what_cannot_be():
    """Two seeds that scatter leave so few degrees of freedom that it would."""
    draws = np.zeros((2, 50))
    seeds = np.array([0.2, 0.9])
    found = compare(seeds[:, None] + draws, 0.5 + draws, seeds, np.array([0.5, 0.5]))
    assert (found.low, found.high) == (-1, 1)


def test_one_seed_leaves_the_examples_alone():
    examples = np.linspace(-1e-3, 3e-3, 400)
    found = compare(
        0.9 + examples[None], np.full((1, 400), 0.9), np.array([0.901]), np.array([0.9])
    )
    assert 0.4 < found.p < 0.6  # a quarter of the draws are below 0


def test_holm_by_hand():
    found = holm({"a": 0.04, "b": 0.01, "c": 0.03, "d": 0.005})
    expected = {"d": 0.02, "b": 0.03, "c": 0.06, "a": 0.06}
    assert list(found) == ["a", "b", "c", "d"]
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value)
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def test_predictions_are_read_as_they_were_written(tmp_path):
    scores = made_scores(50, group=np.arange(50) // 3)
    write_predictions(tmp_path / "p.parquet", scores, SCHEMA)
    got = read_predictions(tmp_path / "p.parquet", SCHEMA)
    np.testing.assert_array_equal(got.logits, scores.logits)
    np.testing.assert_array_equal(got.label_mask, scores.label_mask)
    np.testing.assert_array_equal(got.labels, np.where(scores.label_mask, scores.labels, 0))
    np.testing.assert_array_equal(got.group, scores.group)
