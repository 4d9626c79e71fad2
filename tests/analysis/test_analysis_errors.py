"""Importance where the answer is known, and whether its intervals hold it."""

import numpy as np
import pytest

from dtn_jax.analysis import importance, quality


def scorer(columns):
    """Scores that are the sum of the columns `{field: [B]}`, one task."""

    def permuted(field, order):
        changed = columns | ({field: columns[field][order]} if field else {})
        return sum(changed.values())[:, None]

    return permuted


def one_key(labels):
    return [quality.Key("y@all", "binary", 0, np.arange(len(labels)), labels, None)]


def test_a_field_that_the_labels_ignore_has_none():
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=5_000) for name in ("cause", "noise")}
    labels = (rng.random(5_000) < 1 / (1 + np.exp(-2 * columns["cause"]))).astype(float)
    score = scorer(columns)
    plain = score("cause", np.arange(5_000))
    found = importance.permutation(score, plain, one_key(labels), ("cause", "noise"), 5, 0)
    assert abs(found.mean[1, 0]) < importance.Z * found.error[1, 0] < 0.02
    assert found.mean[0, 0] > 0.2
    np.testing.assert_array_equal(found.above_noise[:, 0], [True, False])


def test_the_intervals_cover_what_other_samples_give():
    """Standard errors are as large as the spread over fresh samples, and so is the covariance."""
    rng = np.random.default_rng(1)
    means, errors, covariances = [], [], []
    for _ in range(120):
        columns = {name: rng.normal(size=400) for name in ("strong", "weak")}
        logit = 1.5 * columns["strong"] + 0.7 * columns["weak"]
        labels = (rng.random(400) < 1 / (1 + np.exp(-logit))).astype(float)
        columns = {"strong": 1.5 * columns["strong"], "weak": 0.7 * columns["weak"]}
        score = scorer(columns)
        plain = score("weak", np.arange(400))
        found = importance.permutation(score, plain, one_key(labels), tuple(columns), 3, 0)
        means.append(found.mean[:, 0])
        errors.append(found.error[:, 0])
        covariances.append(found.covariance)
    spread = np.std(means, axis=0)
    np.testing.assert_allclose(np.mean(errors, axis=0), spread, rtol=0.2)
    inside = np.abs(means - np.mean(means, axis=0)) < importance.Z * np.array(errors)
    assert inside.mean() > 0.9
    np.testing.assert_allclose(
        np.mean(covariances, axis=0), np.cov(np.transpose(means)), atol=0.25 * spread.max() ** 2
    )


@pytest.mark.parametrize("repeats", [1, 3])
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
        plain, key = score("rare", np.arange(500)), one_key(labels)
        found = importance.permutation(score, plain, key, ("rare",), repeats, seed)
        means.append(found.mean[0, 0])
        errors.append(found.error[0, 0])
    assert np.sqrt(np.mean(np.square(errors))) / np.std(means) == pytest.approx(1, abs=0.07)


def test_a_field_that_the_model_ignores_has_no_interval():
    labels, plain = np.arange(40.0) % 2, np.random.default_rng(0).normal(size=(40, 1))
    found = importance.permutation(lambda *_: plain, plain, one_key(labels), ("a",), 2, 0)
    assert (found.mean[0, 0], found.error[0, 0]) == (0, 0)


@pytest.mark.parametrize("method", ["permutation", "unknown", "gradient"])
def test_rows_of_a_group_count_as_one(method):
    """Each row four times, as a group, tells no more than once."""
    rng = np.random.default_rng(2)
    labels, moves = rng.integers(0, 2, 500).astype(float), rng.random((500, 2, 1))
    plain, changed = rng.normal(size=(2, 500, 1)) + labels[:, None]

    def errors(times, group=None):
        def often(rows):
            return np.repeat(rows, times, axis=0)

        keys, fields = one_key(often(labels)), ("a", "b")
        if method == "gradient":
            return importance.gradient(often(moves), often(plain), keys, fields, group).error
        scores = lambda *_: often(changed)  # noqa: E731
        more = () if method == "unknown" else (2, 0)
        measure = getattr(importance, method)
        return measure(scores, often(plain), keys, fields, *more, group=group).error

    once = errors(1)
    assert (once > 0).all()
    near = 0.15 if method == "permutation" else 1e-4  # by chance other rows receive the values
    np.testing.assert_allclose(errors(4), once / 2, rtol=near)  # as if they were independent
    shuffled = np.repeat(rng.permutation(500) * 7, 4)
    np.testing.assert_allclose(errors(4, shuffled), once, rtol=near)
    np.testing.assert_allclose(errors(1, np.arange(500)), once, rtol=1e-5)


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
        found = importance.permutation(score, plain, key, ("noise",), 5, seed, group=group)
        errors.append(found.error[0, 0])
        above.append(found.above_noise[0, 0])
    assert min(errors) > 0
    assert np.mean(above) <= 0.05
