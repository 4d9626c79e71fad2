"""The exchange of two models' scores: exact where it can be, its interval, its lent seeds."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm

from dtn_jax.metrics import paired
from dtn_jax.metrics.gauc import gauc
from dtn_jax.metrics.influence import Influence, Units, influences
from dtn_jax.metrics.log_loss import log_loss
from dtn_jax.metrics.metric import Rows


def scored(rows=120, groups=12, seed=0, skill=1.0):
    """Labels, groups and two models' scores."""
    rng = np.random.default_rng(seed)
    group, y = np.arange(rows) % groups, rng.random(rows) < 0.4
    a, b = ((s * y + rng.normal(size=rows)).astype("f4") for s in (1.0, skill))
    return y, group, a, b


def measured(y, group, scores, units):
    return influences(Rows("binary", scores, y, None, group), np.arange(len(y)), units)


def every_sign(units):
    return np.array(list(itertools.product((1, -1), repeat=units)), np.int8)


@pytest.mark.parametrize("name", ["logloss", "gauc"])
def test_p_is_that_of_exchanging_the_scores_of_groups(name):
    """Over all 4,096 exchanges, with the metric computed anew for each."""
    y, group, a, b = scored()
    units = Units(len(y), group)
    one, two = (measured(y, group, z, units)[name] for z in (a, b))
    found = paired.compare([two], [one], every_sign(12))
    value = {
        "logloss": lambda z: log_loss(z, y),
        "gauc": lambda z: gauc(z, y, group).value,
    }[name]
    observed, reached = value(b) - value(a), 0
    for signs in every_sign(12):
        kept = signs[group] > 0
        apart = value(np.where(kept, b, a)) - value(np.where(kept, a, b))
        reached += abs(apart) >= abs(observed) * (1 - 1e-9)
    assert found.difference == pytest.approx(observed, rel=1e-6)
    assert found.p == pytest.approx(reached / 4096, abs=1e-3)
    assert found.least == 1 / 4097


def test_roots_are_compared_on_the_scale_of_their_squares():
    """Over all 4,096 exchanges of groups, one row of which is far off: RMSE computed anew."""
    rng = np.random.default_rng(0)
    y, group = rng.normal(size=60), np.arange(60) % 12
    a, b = (y + rng.standard_t(1.5, size=60) for _ in "ab")
    units, places = Units(60, group), np.arange(60)
    one, two = (
        influences(Rows("regression", z, y, None, group), places, units)["rmse"] for z in (a, b)
    )
    found = paired.compare([two], [one], every_sign(12), np.inf)

    def rmse(z):
        return np.sqrt(np.mean((z - y) ** 2))

    apart = [
        rmse(np.where(signs[group] > 0, b, a)) - rmse(np.where(signs[group] > 0, a, b))
        for signs in every_sign(12)
    ]
    assert found.difference == pytest.approx(rmse(b) - rmse(a))
    assert found.p == pytest.approx(np.mean(np.abs(apart) >= abs(found.difference) * (1 - 1e-9)))


def test_the_interval_holds_what_is_not_rejected():
    y, group, a, b = scored(skill=2.0)
    units = Units(len(y), group)
    one, two = (measured(y, group, z, units)["logloss"] for z in (a, b))
    drawn = paired.signs(12)
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
    there, back = (paired.compare(*pair, paired.signs(12)) for pair in ((one, two), (two, one)))
    assert back[:4] == (-there.difference, -there.high, -there.low, there.p)


def test_equal_scores_differ_nowhere():
    y, group, a, _ = scored()
    one = measured(y, group, a, Units(len(y), group))["auc"]
    found = paired.compare([one], [one], paired.signs(12))
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
