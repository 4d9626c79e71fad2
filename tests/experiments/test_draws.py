"""Draws of AUCs as cells keep them: rounded to what a bootstrap can use, and packed small."""

import base64

import numpy as np
import pytest

from dtn_jax.metrics.significance import compare
from experiments.tables import draws


def away(kept):
    cell = {"draws": {"a@all": kept}, "results": {"test": {"a@all": {"auc": 0.0}}}}
    return draws.unpacked(cell, "a@all")


def drawn(seed, scale=1e-3, count=2000):
    return scale * np.random.default_rng(seed).normal(size=count)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 0.2])
def test_they_come_back_within_half_a_step(scale):
    values = drawn(0, scale)
    kept = draws.packed(0.7 + values, 0.7)
    assert scale / 70 < kept["step"] <= scale / 30
    assert np.abs(away(kept) - values).max() <= kept["step"] / 2 * (1 + 1e-9)
    assert draws.packed(away(kept), None)["steps"] == kept["steps"]


def test_a_draw_without_a_class_stays_one():
    values = np.array([0.1, np.nan, -0.2, 0.0])
    kept, other = draws.packed(values, None), draws.packed(np.array([np.nan, 0.1, 0.2, 0.1]), None)
    np.testing.assert_array_equal(np.isnan(away(kept)), np.isnan(values))
    assert draws.plus(draws.less(kept, other), other) == kept
    nothing = draws.packed(np.full(3, np.nan), None)
    assert np.isnan(away(nothing)).all()


def test_equal_draws_are_kept():
    np.testing.assert_array_equal(away(draws.packed(np.full(4, 0.75), 0.75)), np.zeros(4))
    np.testing.assert_allclose(
        away(draws.packed(np.full(4, 0.75), 0.5)), np.full(4, 0.25), rtol=0.02
    )


def test_those_of_another_run_are_taken_off_and_put_back():
    one = draws.packed(drawn(0) + drawn(1) / 10, None)
    other = draws.packed(drawn(0), None)
    difference = draws.less(one, other)
    assert "less" in difference
    assert draws.plus(difference, other) == one
    letters = lambda kept, name: len(set(kept[name]))  # noqa: E731
    assert letters(difference, "less") < letters(one, "steps") / 3
    few = draws.packed(drawn(0, count=20), None)
    far = draws.packed(drawn(0, scale=1.0), None)
    assert "steps" in draws.less(one, far)  # steps of another size would be no smaller
    for before in (None, few, far):
        assert draws.plus(draws.less(one, before), before) == one


def test_draws_of_older_cells_are_read():
    values = drawn(0)
    text = base64.b64encode(values.astype("<f2").tobytes()).decode()
    kept = draws.of_float16(text)
    assert np.abs(away(kept) - values).max() <= kept["step"]


def test_rounding_changes_no_comparison_by_more_than_its_draws_leave_open():
    examples = drawn(0)
    ours = np.stack([0.8 + examples + drawn(seed) / 6 for seed in (1, 2, 3)])
    theirs = np.stack([0.7996 + examples + drawn(seed) / 6 for seed in (4, 5, 6)])
    seeds = np.array([0.8001, 0.8, 0.7999]), np.array([0.7995, 0.7996, 0.7998])
    rounded = [
        np.stack([0.8 + away(draws.packed(one, 0.8)) for one in side]) for side in (ours, theirs)
    ]
    before, after = compare(ours, theirs, *seeds), compare(*rounded, *seeds)
    width = before.high - before.low
    assert abs(after.low - before.low) < 0.005 * width
    assert abs(after.high - before.high) < 0.005 * width
    assert after.p == pytest.approx(before.p, rel=0.03, abs=1e-4)
    assert before.p > 0.001  # else nothing was compared
