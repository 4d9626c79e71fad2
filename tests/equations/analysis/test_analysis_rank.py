"""Errors of importances, and the divergence of two tasks' ranks, where the truth is known."""

import dataclasses

import numpy as np
import pytest
from batches import batch_of
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from dtn_jax.analysis import importance, quality, rank
from dtn_jax.analysis.importance import Importance, Sample
from dtn_jax.data.sets.synthetic import funnel, known_answer
from dtn_jax.schema import Field, Schema, Task


def given(means, error=1e-9):
    """An importance with these means `[F, K]` and independent errors."""
    means = np.asarray(means, float)
    fields = tuple(f"f{i}" for i in range(len(means)))
    keys = tuple(f"t{k}@all" for k in range(means.shape[1]))
    covariance = error**2 * np.eye(means.size)
    return Importance(fields, keys, means[None], covariance)


def test_spearman_is_that_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (2, 4, 12)).astype(float)
    for i in range(4):
        assert rank.spearman(a, b)[i] == pytest.approx(spearmanr(a[i], b[i]).statistic)
    assert np.isnan(rank.spearman(np.ones(4), np.arange(4.0)))


def test_divergence_of_equal_and_of_reversed_orders():
    up = np.arange(8.0)
    table = rank.divergences(given(np.stack([up, 3 * up + 1, -up], axis=1)))
    sides = [(row["left"], row["right"]) for row in table]
    assert sides == [("t0@all", "t1@all"), ("t0@all", "t2@all"), ("t1@all", "t2@all")]
    for row, expected in zip(table, (0, 2, 2)):
        found = [row[name] for name in ("divergence", "low", "high")]
        np.testing.assert_allclose(found, expected, atol=1e-12)
        np.testing.assert_allclose([row["noise_left"], row["noise_right"]], 0, atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "noise", "covered", "mirrored"),
    [
        (8, 0.1, 96, 71),
        (8, 1.0, 88, 64),
        (12, 0.3, 92, 80),
        pytest.param(39, 0.1, 93, 82, marks=pytest.mark.slow),
        pytest.param(39, 1.0, 88, 81, marks=pytest.mark.slow),
    ],
)
def test_the_interval_of_a_divergence_has_the_true_one_in_it(fields, noise, covered, mirrored):
    """In so many % of 200 simulated pairs; fewer, were the draws mirrored at the estimate.

    `noise` is the standard error of every importance over the median one. rank.py and the report
    quote the figures.
    """
    rng = np.random.default_rng(0)
    inside = np.zeros(2)
    with threadpool_limits(1):  # threads only wait for each other on matrices this small
        for _ in range(200):
            true = rng.lognormal(0, 1.5, (fields, 2))
            error = noise * np.median(true)
            seen = true + error * rng.normal(size=true.shape)
            (row,) = rank.divergences(given(seen, error), draws=200)
            value, low, high = (row[name] for name in ("divergence", "low", "high"))
            wanted = 1 - rank.spearman(*true.T)
            inside += low <= wanted <= high, 2 * value - high <= wanted <= 2 * value - low
    np.testing.assert_allclose(inside / 2, [covered, mirrored], atol=2.5)


# ---------------------------------------------------------------- errors


def scorer(columns):
    """Scores that are the sum of the columns `{field: [B]}`, one task."""

    def permuted(field, order):
        changed = columns | ({field: columns[field][order]} if field else {})
        return sum(changed.values())[:, None]

    return permuted


def one_key(labels):
    places = np.arange(len(labels))
    return [quality.Key("y@all", "binary", places, labels, None, lambda scores: scores[:, 0])]


@pytest.mark.parametrize("repeats", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_the_interval_of_a_rare_value_counts_the_rows_that_receive_it(repeats):
    """One row in 50 has a value that says much. By the rows' own part alone the error is less
    than 0.9 of the spread over fresh samples."""
    rng = np.random.default_rng(0)
    means, errors = [], []
    for _ in range(400):
        columns = {"plain": rng.normal(size=500), "rare": 7.0 * (rng.random(500) < 0.02)}
        chance = 1 / (1 + np.exp(1.5 - sum(columns.values())))
        labels = (rng.random(500) < chance).astype(float)
        score, seed = scorer(columns), int(rng.integers(2**31))
        sample = Sample(score("rare", np.arange(500)), one_key(labels), ("rare",))
        found = importance.permutation(score, sample, repeats, seed)
        means.append(found.mean[0, 0])
        errors.append(found.error[0, 0])
    assert np.sqrt(np.mean(np.square(errors))) / np.std(means) == pytest.approx(1, abs=0.07)


@pytest.mark.parametrize("method", ["permutation", "unknown"])
def test_rows_of_a_group_count_as_one(method):
    """Each row four times, as a group, tells no more than once."""
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 500).astype(float)
    plain, changed = rng.normal(size=(2, 500, 1)) + labels[:, None]

    def errors(times, group=None):
        def often(rows):
            return np.repeat(rows, times, axis=0)

        sample = Sample(often(plain), one_key(often(labels)), ("a", "b"), group)
        scores = lambda *_: often(changed)  # noqa: E731
        more = () if method == "unknown" else (2, 0)
        return getattr(importance, method)(scores, sample, *more).error

    once = errors(1)
    assert (once > 0).all()
    near = 0.15 if method == "permutation" else 1e-4  # by chance other rows receive the values
    np.testing.assert_allclose(errors(4), once / 2, rtol=near)  # as if they were independent
    shuffled = np.repeat(rng.permutation(500) * 7, 4)
    np.testing.assert_allclose(errors(4, shuffled), once, rtol=near)
    np.testing.assert_allclose(errors(1, np.arange(500)), once, rtol=1e-5)


@pytest.mark.slow
def test_a_field_that_hardly_matters_is_never_certain_in_few_groups():
    """What is taken off for chance must not leave an interval of no width."""
    rng = np.random.default_rng(0)
    errors, above = [], []
    for _ in range(400):
        columns = {"cause": rng.normal(size=240), "noise": 0.05 * rng.normal(size=240)}
        labels = (rng.random(240) < 1 / (1 + np.exp(1 - columns["cause"]))).astype(float)
        group, score = rng.integers(12, size=240), scorer(columns)
        plain, key = score("cause", np.arange(240)), one_key(labels)
        seed = int(rng.integers(2**31))
        found = importance.permutation(score, Sample(plain, key, ("noise",), group), 5, seed)
        errors.append(found.error[0, 0])
        above.append(found.mean[0, 0] > importance.Z * found.error[0, 0])
    assert min(errors) > 0
    assert np.mean(above) <= 0.05


# ---------------------------------------------------------------- the Bayes-optimal score


@pytest.fixture(scope="module")
def bayes():
    """The importance of the Bayes-optimal score on 12,000 rows."""
    spec = funnel.FunnelSpec(rows=12_000)
    ids, labels = funnel.rows(spec, 0, 12_000)
    tasks = (
        Task("click"),
        Task("cart", also_report=("click",), upstream=("click",)),
        Task("order", also_report=("cart", "click"), upstream=("cart",)),
    )
    schema = Schema("synthetic", [Field(f) for f in funnel.FIELDS], tasks)
    batch = batch_of(ids, labels.astype(np.float32))
    keys, _ = quality.keys(schema, batch, weighted=False)
    keys = [
        dataclasses.replace(key, score=lambda scores, k=k, key=key: scores[key.rows, k])
        for k, key in enumerate(keys)
    ]

    def scores(ids):
        of_key = known_answer.bayes_scores(spec, ids)
        return np.stack([of_key[key.name] for key in keys], axis=1)

    def changed(field, order):
        other, place = ids.copy(), funnel.FIELDS.index(field)
        other[:, place] = ids[order, place]
        return scores(other)

    return importance.permutation(changed, Sample(scores(ids), keys, funnel.FIELDS), 2, 0)


def test_the_bayes_optimal_score_uses_the_fields_of_its_stages_alone(bayes):
    assert bayes.keys == tuple(f"{t}@{s}" for t, s in [
        ("click", "all"), ("cart", "all"), ("cart", "click"),
        ("order", "all"), ("order", "cart"), ("order", "click"),
    ])  # fmt: skip
    stages = {"click@all": ["click"], "cart@click": ["cart"], "order@click": ["cart", "order"]}
    for key, used in stages.items():
        fields = set()
        for stage in used:
            fields |= set(funnel.STAGES[stage].weights)
            fields |= {f for pair in funnel.STAGES[stage].pairs for f in pair[:2]}
        k = bayes.keys.index(key)
        for f, field in enumerate(funnel.FIELDS):
            assert (bayes.values[:, f, k] == 0).all() == (field not in fields), (key, field)


def test_importance_of_the_bayes_score_agrees_with_the_known_shares_of_variance(bayes):
    shares = known_answer.importance(funnel.FunnelSpec(rows=12_000))
    for key, stage in {"click@all": "click", "cart@click": "cart"}.items():
        k = bayes.keys.index(key)
        over = bayes.mean[:, k] > importance.Z * bayes.error[:, k]
        assert rank.spearman(bayes.mean[over, k], shares[stage][over]) > 0.9
