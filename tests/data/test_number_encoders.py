"""Numbers: buckets of equal counts, and standardised, with bins of equal counts."""

import numpy as np
import polars as pl
import pytest
from fitted import encode, fit

from dtn_jax.datasets.preparation.encoders import (
    Binned,
    BinnedLogarithms,
    QuantileBuckets,
    Standardise,
    field,
    from_json,
    to_json,
)
from dtn_jax.schema import Field


def test_a_dominating_value_has_a_bucket_of_its_own():
    rng = np.random.default_rng(0)
    values = np.where(rng.random(20_000) < 0.9, 0.0, rng.lognormal(5, 2, 20_000))
    fitted = fit(QuantileBuckets(buckets=8), values)
    assert fitted.dominating == (0.0,)
    assert fitted.rows == 1 + 1 + 8
    rows = np.array(encode(fitted, values))
    assert ((rows == 1) == (values == 0)).all()
    # The others fill their buckets evenly: 2,000 in 8.
    counts = np.bincount(rows, minlength=10)[2:]
    assert counts.sum() == (values != 0).sum()
    assert counts.max() - counts.min() <= 2


def test_buckets_are_evenly_filled_and_ordered():
    values = np.random.default_rng(1).normal(size=3_200)
    fitted = fit(QuantileBuckets(buckets=32), values)
    assert fitted.dominating == ()
    rows = np.array(encode(fitted, np.sort(values)))
    assert (np.diff(rows) >= 0).all()
    assert np.bincount(rows).tolist() == [0] + [100] * 32


def test_repeated_values_never_straddle_an_edge():
    values = np.random.default_rng(2).poisson(60, 20_000).astype(float)
    fitted = fit(QuantileBuckets(buckets=16), values)
    rows = np.array(encode(fitted, values))
    for value in np.unique(values):
        assert len(set(rows[values == value])) == 1
    share = np.bincount(rows)[1:] / len(values)
    assert share.max() < 1 / 16 + 0.052  # a bucket and one value, not quite dominating


def test_few_distinct_values_each_have_a_bucket():
    values = [v for v, n in {3: 500, 5: 1, 6: 300, 9: 2, 11: 30, 12: 1}.items() for _ in range(n)]
    fitted = fit(QuantileBuckets(buckets=8), values)
    assert fitted.dominating == (3.0, 6.0)
    assert len(set(encode(fitted, [3, 5, 6, 9, 11, 12]))) == 6
    assert encode(fitted, [5, 9, 11, 12]) == [3, 4, 5, 6]
    # As many as there are buckets, all rare: still one each.
    values = np.repeat(np.arange(30), np.r_[1, [100] * 29])
    assert len(set(encode(fit(QuantileBuckets(buckets=30), values), np.arange(30)))) == 30


def test_missing_numbers_get_row_0():
    fitted = fit(QuantileBuckets(buckets=4), [None, float("nan"), *range(50), float("inf")])
    assert all(np.isfinite([*fitted.edges, *fitted.dominating]))
    assert encode(fitted, [None, float("nan"), float("inf"), 0.0]) == [0, 0, 0, 1]
    # The many that are missing have no say in what dominates.
    assert fit(QuantileBuckets(), [None] * 980 + [7.0] * 20).dominating == (7.0,)


def test_a_constant_column():
    fitted = fit(QuantileBuckets(), [4] * 10)
    assert (fitted.dominating, fitted.edges, fitted.rows) == ((4.0,), (), 3)
    assert encode(fitted, [4, 3, 5, None]) == [1, 2, 2, 0]


@pytest.mark.parametrize("dtype", [pl.Float64, pl.Null])
@pytest.mark.parametrize("encoder", [QuantileBuckets(), Standardise()])
def test_a_column_of_nothing(encoder, dtype):
    fitted = fit(encoder, [None, None], dtype=dtype)
    assert fitted.rows == 2
    assert encode(fitted, [None, 3.0, -1.0]) == [0, 1, 1]


def test_standardise():
    column = [2.0, 4.0, 4.0, None, 4.0, 5.0, float("nan"), 5.0, 7.0, 9.0]  # mean 5, deviation 2
    fitted = fit(Standardise(), column)
    assert fitted.mean == pytest.approx(5, abs=1e-12)
    assert fitted.deviation == pytest.approx(2, abs=1e-12)
    assert encode(fitted, [1.0, None, float("nan"), float("-inf")]) == [1, 0, 0, 0]
    values = fitted.values(pl.Series([9.0, 5.0, -1.0, None, float("nan"), float("inf")]))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, [2, 0, -3, 1, 1, 1], atol=1e-6)


@pytest.mark.parametrize("value", [0.1, 3.3e7, 0.0])
def test_standardise_does_not_blow_up_a_constant(value):
    fitted = fit(Standardise(), [value] * 7)
    assert (fitted.mean, fitted.deviation) == (value, 1.0)
    np.testing.assert_array_equal(fitted.values(pl.Series([value, value + 1])), [0, 1])


def test_bins_are_the_quantiles_of_train_each_once():
    values = np.random.default_rng(0).lognormal(0, 1, 999)
    fitted = fit(Binned(bins=8), values)
    plain = fit(Standardise(), values)
    assert (fitted.mean, fitted.deviation) == (plain.mean, plain.deviation)
    expected = np.quantile(values, np.arange(9) / 8, method="inverted_cdf")
    np.testing.assert_allclose(fitted.edges, (expected - plain.mean) / plain.deviation, rtol=1e-6)
    shares = np.histogram(fitted.values(pl.Series(values)), fitted.edges)[0] / len(values)
    assert np.ptp(shares) <= 2 / len(values)
    often = fit(Binned(bins=8), [0.0] * 60 + list(range(1, 41)))  # five quantiles are the 0
    assert len(often.edges) == 5
    assert often.edges[0] == np.float32((0 - often.mean) / often.deviation)


@pytest.mark.parametrize("values", [[], [None], [4.0] * 9, [1e20] * 3, [1e9, 1e9 + 1e-6]])
def test_there_is_a_bin_whatever_the_values(values):
    fitted = fit(Binned(), values, dtype=pl.Float64)
    assert len(fitted.edges) >= 2
    assert (np.diff(np.float32(fitted.edges)) > 0).all()


def test_bins_come_back_from_json():
    fitted = fit(Binned(bins=4), np.arange(50.0))
    assert from_json(to_json({"x": fitted, "y": Standardise(1.0, 2.0)})) == {
        "x": fitted,
        "y": Standardise(1.0, 2.0),
    }
    assert field("x", fitted) == Field(
        "x", "numeric", rows=2, standardised=True, edges=fitted.edges
    )


def test_logarithms_of_either_sign_are_standardised_and_binned_in_their_own_units():
    values = [-np.e + 1, 0.0, np.e - 1, np.e**2 - 1]  # logarithms -1, 0, 1, 2
    fitted = fit(BinnedLogarithms(bins=3), values)
    expected = (np.array([-1, 0, 1, 2]) - 0.5) / np.sqrt(1.25)
    np.testing.assert_allclose(fitted.values(pl.Series(values)), expected, rtol=1e-6)
    np.testing.assert_allclose(fitted.edges, expected, rtol=1e-6)
    assert fitted.values(pl.Series([None, np.nan], dtype=pl.Float64)).tolist() == [1, 1]
    assert from_json(to_json({"x": fitted})) == {"x": fitted}
