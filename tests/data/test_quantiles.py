"""Quantiles of numbers: buckets of equal counts, and the bins of standardised values."""

import numpy as np
import pytest

from dtn_jax.data.quantiles import QuantileBuckets, quantiles, signed_log, standardised_edges


def counted(values):
    return np.unique(np.asarray(values, np.float64), return_counts=True)


def fit(values, buckets=32):
    return QuantileBuckets(buckets).fit(*counted(values))


def encode(fitted, values):
    rows = fitted.encode(np.asarray(values))
    assert rows.dtype == np.int32
    assert ((rows >= 0) & (rows < fitted.rows)).all()
    return rows.tolist()


def test_a_dominating_value_has_a_bucket_of_its_own():
    rng = np.random.default_rng(0)
    values = np.where(rng.random(20_000) < 0.9, 0.0, rng.lognormal(5, 2, 20_000))
    fitted = fit(values, buckets=8)
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
    fitted = fit(values)
    assert fitted.dominating == ()
    rows = np.array(encode(fitted, np.sort(values)))
    assert (np.diff(rows) >= 0).all()
    assert np.bincount(rows).tolist() == [0] + [100] * 32


def test_few_distinct_values_each_have_a_bucket():
    values = [v for v, n in {3: 500, 5: 1, 6: 300, 9: 2, 11: 30, 12: 1}.items() for _ in range(n)]
    fitted = fit(values, buckets=8)
    assert fitted.dominating == (3.0, 6.0)
    assert len(set(encode(fitted, [3, 5, 6, 9, 11, 12]))) == 6
    assert encode(fitted, [5, 9, 11, 12]) == [3, 4, 5, 6]
    # As many as there are buckets, all rare: still one each.
    values = np.repeat(np.arange(30), np.r_[1, [100] * 29])
    assert len(set(encode(fit(values, buckets=30), np.arange(30)))) == 30


def test_missing_numbers_get_row_0():
    assert encode(fit(range(50), buckets=4), [np.nan, np.inf, -np.inf, 0.0]) == [0, 0, 0, 1]


def test_a_constant_column_and_one_of_nothing():
    fitted = fit([4] * 10)
    assert (fitted.dominating, fitted.edges, fitted.rows) == ((4.0,), (), 3)
    assert encode(fitted, [4, 3, 5]) == [1, 2, 2]
    empty = fit([])
    assert empty.rows == 2
    assert encode(empty, [np.nan, 3.0, -1.0]) == [0, 1, 1]


def edges(values, bins=48):
    values = np.asarray(values, np.float64)
    scale = (values.mean(), values.std() or 1.0) if len(values) else (0.0, 1.0)
    return standardised_edges(quantiles(*counted(values), bins), *scale)


def test_bins_are_the_quantiles_of_train_each_once():
    values = np.random.default_rng(0).lognormal(0, 1, 999)
    expected = np.quantile(values, np.arange(9) / 8, method="inverted_cdf")
    scaled = (values - values.mean()) / values.std()
    got = edges(values, bins=8)
    np.testing.assert_allclose(got, (expected - values.mean()) / values.std(), rtol=1e-6)
    shares = np.histogram(np.float32(scaled), got)[0] / len(values)
    assert np.ptp(shares) <= 2 / len(values)
    often = [0.0] * 60 + list(range(1, 41))  # five quantiles are the 0
    assert len(edges(often, bins=8)) == 5
    assert edges(often, bins=8)[0] == np.float32((0 - np.mean(often)) / np.std(often))


@pytest.mark.parametrize("values", [[], [4.0] * 9, [1e20] * 3, [1e9, 1e9 + 1e-6]])
def test_there_is_a_bin_whatever_the_values(values):
    got = edges(values)
    assert len(got) >= 2
    assert (np.diff(np.float32(got)) > 0).all()


def test_logarithms_of_either_sign():
    values = np.array([-np.e + 1, 0.0, np.e - 1, np.e**2 - 1])
    np.testing.assert_allclose(signed_log(values), [-1, 0, 1, 2], rtol=1e-12)
    assert np.isnan(signed_log(np.array([np.nan]))).all()
