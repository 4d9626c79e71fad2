"""Is a difference of two models one: the hierarchical bootstrap, its AUCs and its errors where
nothing differs; Holm's correction; the exchange of two models' scores, exact where it can be."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from dtn_jax.metrics import Influence, Units, influences, paired
from dtn_jax.metrics.log_loss import log_loss
from dtn_jax.metrics.metric import Rows
from dtn_jax.metrics.scores import Scores, read_predictions, write_predictions
from dtn_jax.metrics.significance import Ranking, compare, holm, resampled_aucs
from dtn_jax.metrics.spaces import logits_in
from dtn_jax.metrics.within_groups import gauc
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


def drawn(rng, seeds, draws, level, seed_deviation, example):
    """AUCs `[S, R]` of a model: its level, its seeds' deviations, the examples' (shared)."""
    own = level + seed_deviation * rng.normal(size=seeds)
    return own[:, None] + example[None], own


@pytest.mark.parametrize(
    ("seeds", "scatter", "noise", "low", "high"),
    [
        ((5, 5), (1, 1), "both", 0.035, 0.065),
        ((5, 5), (1, 1), "seeds", 0.035, 0.065),
        ((2, 2), (1, 1), "seeds", 0.005, 0.03),
        *(
            pytest.param(*case, marks=pytest.mark.nightly)
            for case in (
                ((5, 5), (1, 1), "examples", 0.035, 0.065),
                ((3, 3), (1, 1), "both", 0.015, 0.05),
                ((5, 5), (1, 10), "seeds", 0.035, 0.075),
                ((3, 3), (1, 10), "seeds", 0.03, 0.065),
                ((5, 3), (10, 1), "seeds", 0.03, 0.07),
                ((5, 3), (1, 10), "seeds", 0.03, 0.08),
                ((5, 2), (1, 10), "seeds", 0.03, 0.12),
            )
        ),
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


# The exchange of scores.


def scored(rows=100, groups=10, seed=0, skill=1.0):
    """Labels, groups and two models' scores."""
    rng = np.random.default_rng(seed)
    group, y = np.arange(rows) % groups, rng.random(rows) < 0.4
    a, b = ((s * y + rng.normal(size=rows)).astype("f4") for s in (1.0, skill))
    return y, group, a, b


def measured(y, group, scores, units):
    return influences(Rows("binary", scores, y, None, group), units)


def every_sign(units):
    return np.array(list(itertools.product((1, -1), repeat=units)), np.int8)


@pytest.mark.parametrize("name", ["logloss", "gauc"])
def test_p_is_that_of_exchanging_the_scores_of_groups(name):
    """Over all 256 exchanges, with the metric computed anew for each."""
    y, group, a, b = scored(groups=8)
    units = Units(len(y), group)
    one, two = (measured(y, group, z, units)[name] for z in (a, b))
    found = paired.compare([two], [one], every_sign(8))
    value = {
        "logloss": lambda z: log_loss(Rows("binary", z, y)),
        "gauc": lambda z: gauc(Rows("binary", z, y, None, group))[0],
    }[name]
    observed, reached = value(b) - value(a), 0
    for signs in every_sign(8)[:128]:  # the others are their opposites
        kept = signs[group] > 0
        apart = value(np.where(kept, b, a)) - value(np.where(kept, a, b))
        reached += abs(apart) >= abs(observed) * (1 - 1e-9)
    assert found.difference == pytest.approx(observed, rel=1e-6)
    assert found.p == pytest.approx(reached / 128, abs=1e-3)
    assert found.least == 1 / 257


def test_roots_are_compared_on_the_scale_of_their_squares():
    """Over all 256 exchanges of groups, one row of which is far off: RMSE computed anew."""
    rng = np.random.default_rng(0)
    y, group = rng.normal(size=60), np.arange(60) % 8
    a, b = (y + rng.standard_t(1.5, size=60) for _ in "ab")
    units = Units(60, group)
    one, two = (influences(Rows("regression", z, y, None, group), units)["rmse"] for z in (a, b))
    found = paired.compare([two], [one], every_sign(8), np.inf)

    def rmse(z):
        return np.sqrt(np.mean((z - y) ** 2))

    apart = [
        rmse(np.where(signs[group] > 0, b, a)) - rmse(np.where(signs[group] > 0, a, b))
        for signs in every_sign(8)
    ]
    assert found.difference == pytest.approx(rmse(b) - rmse(a))
    assert found.p == pytest.approx(np.mean(np.abs(apart) >= abs(found.difference) * (1 - 1e-9)))


def test_the_interval_holds_what_is_not_rejected():
    y, group, a, b = scored(skill=2.0)
    units = Units(len(y), group)
    one, two = (measured(y, group, z, units)["logloss"] for z in (a, b))
    drawn = paired.signs(10)
    low, high = paired.compare([two], [one], drawn)[1:3]

    def p(difference):
        """Of this difference: the same comparison with the share of it taken off each unit."""
        return paired.compare([two._replace(value=two.value - difference)], [one], drawn).p

    for end, step in ((low, 1e-4), (high, -1e-4)):
        assert p(end + step) >= 0.05 > p(end - step)


def test_a_difference_of_many_rows_has_the_normal_interval():
    y, _, a, _ = scored(2000)
    units = Units(2000, None)
    one, two = (measured(y, None, z, units)["logloss"] for z in (a, a + np.float32(0.4)))
    found = paired.compare([two], [one], paired.signs(2000), np.inf)
    z = a.astype(float)
    d = np.logaddexp(0, np.where(y, -1, 1) * (z + 0.4)) - np.logaddexp(0, np.where(y, -1, 1) * z)
    error = d.std() / np.sqrt(2000)
    np.testing.assert_allclose(found.difference, d.mean(), rtol=1e-5)
    expected = d.mean() + norm.ppf([0.025, 0.975]) * error
    np.testing.assert_allclose([found.low, found.high], expected, atol=0.15 * error)


def test_sides_that_change_places_change_the_sign_alone():
    y, group, *_ = scored(skill=2.0)
    units = Units(len(y), group)
    rng = np.random.default_rng(3)
    runs = [measured(y, group, (y + rng.normal(size=len(y))).astype("f4"), units) for _ in "abcde"]
    one, two = [run["auc"] for run in runs[:3]], [run["auc"] for run in runs[3:]]
    there, back = (paired.compare(*pair, paired.signs(10)) for pair in ((one, two), (two, one)))
    assert back[:4] == (-there.difference, -there.high, -there.low, there.p)


def test_equal_scores_differ_nowhere():
    y, group, a, _ = scored()
    one = measured(y, group, a, Units(len(y), group))["auc"]
    found = paired.compare([one], [one], paired.signs(10))
    assert found[:4] == (0, 0, 0, 1)


def test_a_single_unit_says_nothing():
    one, two = (Influence(v, np.zeros(1), np.ones(1), 1.0) for v in (0.5, 0.9))
    found = paired.compare([two], [one], paired.signs(1))
    assert found.p == 1
    assert (found.low, found.high) == (-1, 1)


@pytest.mark.parametrize(("ours", "theirs"), [(5, 1), (1, 5), (3, 1)])
def test_a_single_run_has_the_scatter_of_the_other_side(ours, theirs):
    """Of equal models, whose rows say nothing: p < 0.05 in about 5 % of 400 comparisons."""
    rng, drawn, found = np.random.default_rng(0), paired.signs(20, 300), 0
    units = 1e-9 * rng.normal(size=20)
    for _ in range(400):
        sides = [
            [Influence(v, units, np.full(20, 0.05), 20.0) for v in 0.8 + 0.001 * rng.normal(size=n)]
            for n in (ours, theirs)
        ]
        found += paired.compare(*sides, drawn).p < 0.05
    assert 0.02 < found / 400 < 0.075


def test_what_seeds_add_to_single_units_is_counted_once():
    """Seeds of equal values: the interval is that of what the seeds have in common."""
    rng, share = np.random.default_rng(0), np.full(4000, 1 / 4000)
    common, sides = rng.normal(size=4000), []
    for sign in (0.5, -0.5):
        noise = 3 * rng.normal(size=(3, 4000))
        sides.append([Influence(0.5, sign * common + own, share, 4000.0) for own in noise])
    found = paired.compare(*sides, paired.signs(4000, 1000), np.inf)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.sqrt(4000), rel=0.3)
