"""The encoder of vectors: fitted on sums that merge; what it refuses."""

import functools

import numpy as np
import polars as pl
import pytest
from fitted import encode, fit

from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation import vectors
from dtn_jax.datasets.preparation.checks import check_frame
from dtn_jax.datasets.preparation.encoders import Vector
from dtn_jax.errors import UserError
from dtn_jax.schema import Field, Task

LISTS = pl.List(pl.Float64)


def column(x, missing=()):
    """A list column of the rows of x, some of them missing."""
    return pl.Series(
        "x", [None if i in missing else row.tolist() for i, row in enumerate(x)], LISTS
    )


def drawn(rows=200, length=4):
    return np.random.default_rng(0).normal(3, [0.1, 1, 10, 100][:length], (rows, length))


def test_each_component_is_standardised_by_the_known_vectors_of_train(monkeypatch):
    monkeypatch.setattr(vectors, "ROWS", 30)  # of several pieces
    x, missing = drawn(), set(range(0, 200, 7))
    known = np.array([i not in missing for i in range(200)])
    whole = column(x, missing)
    fitted = fit(Vector(4), *(whole[i : i + 64] for i in range(0, 200, 64)))
    np.testing.assert_allclose(fitted.mean, x[known].mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(fitted.deviation, x[known].std(axis=0), rtol=1e-10)
    other = drawn(50) + 1  # of another split
    got = fitted.values(column(other, {3, 4}))
    assert got.dtype == np.float32
    expected = (other - x[known].mean(axis=0)) / x[known].std(axis=0)
    expected[[3, 4]] = 0
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
    assert encode(fitted, [[0.0] * 4, None, [1.0] * 4], LISTS) == [1, 0, 1]


def test_sums_merge_and_their_order_alone_decides_the_bits():
    encoder, x = Vector(4), drawn()
    parts = [encoder.sums(column(x[i : i + 50])) for i in range(0, 200, 50)]
    merged = functools.reduce(vectors.Sums.plus, parts)
    assert merged.count == 200
    np.testing.assert_allclose(merged.total, x.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(merged.squares, (x**2).sum(axis=0), rtol=1e-12)
    assert merged.total.dtype == np.float64
    assert encoder.fit(merged) == fit(encoder, *(column(x[i : i + 50]) for i in range(0, 200, 50)))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_a_constant_component_becomes_0(value):
    x = np.stack([np.full(1000, value), np.random.default_rng(0).normal(size=1000)], axis=1)
    fitted = fit(Vector(2), column(x))
    assert fitted.deviation[0] == 1
    got = fitted.values(column(x))
    np.testing.assert_allclose(got[:, 0], 0, atol=1e-5 * max(value, 1))
    assert got[:, 1].std() == pytest.approx(1, rel=1e-5)


def test_small_deviations_of_large_numbers_are_kept():
    x = 1000 + np.random.default_rng(0).normal(size=(5000, 1)) * 0.1
    assert fit(Vector(1), column(x)).values(column(x)).std() == pytest.approx(1, rel=1e-4)


def test_numbers_as_they_are():
    encoder = Vector(4, standardise=False)
    assert not enc.needs_fitting(encoder)
    x = drawn()
    assert fit(encoder, column(x)) == encoder
    np.testing.assert_array_equal(encoder.values(column(x)), x.astype(np.float32))


@pytest.mark.parametrize("dtype", [pl.List(pl.Float32), pl.List(pl.Int64), pl.Array(pl.Float32, 2)])
def test_lists_of_any_numbers_and_arrays_are_read(dtype):
    given = pl.Series("x", [[1, 2], None, [3, 6]], dtype=dtype)
    check_frame(pl.DataFrame({"x": given}), {"x": Vector(2)}, (), "", "s/train")
    fitted = enc.fit({"x": Vector(2)}, [pl.DataFrame({"x": given})])["x"]
    assert fitted.values(given).tolist() == [[-1, -1], [0, 0], [1, 1]]


def test_a_train_split_without_any_vector():
    fitted = fit(Vector(2), [None, None])
    assert fitted.values(column(np.ones((3, 2)))).tolist() == [[1, 1]] * 3
    assert encode(fitted, [None]) == [0]


def test_field_and_json():
    fitted = fit(Vector(4), column(drawn()))
    assert enc.from_json(enc.to_json({"x": fitted})) == {"x": fitted}
    assert enc.field("x", fitted) == Field("x", kind="vector", rows=2, length=4)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([1.0, 2.0], "the length of vector 'x' is 2 in row 102 .* expected 3"),
        ([1.0, 2.0, 3.0, 4.0], "the length of vector 'x' is 4 in row 102"),
        ([], "the length of vector 'x' is 0 in row 102"),
        ([1.0, None, 3.0], "a number of vector 'x' is None in row 102 .* expected a finite one"),
        ([1.0, float("nan"), 3.0], "a number of vector 'x' is nan in row 102"),
        ([1.0, 1e39, 3.0], "a number of vector 'x' is inf in row 102"),  # as float32
    ],
)
def test_a_bad_vector_is_found_by_its_row(bad, message):
    given = pl.Series("x", [[0.0] * 3, bad, None], dtype=LISTS)
    frame = pl.DataFrame({"x": given, "click": [0, 1, 1]})
    with pytest.raises(UserError, match=f"^shop/train: {message}"):
        check_frame(frame, {"x": Vector(3)}, (Task("click"),), "", "shop/train", 100)


def test_a_column_without_lists_is_refused():
    for given, shown in (([1.0], "Float64"), ([["a"]], r"List\(String\)")):
        with pytest.raises(UserError, match=f"'x' must hold lists of numbers, got {shown}"):
            check_frame(pl.DataFrame({"x": given}), {"x": Vector(1)}, (), "", "shop/train")
