"""List columns to padded rows: ragged arrays, vocabularies and the encoder."""

import collections

import numpy as np
import polars as pl
import pytest

from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation.bags import Bag
from dtn_jax.datasets.preparation.ragged import Ragged
from dtn_jax.datasets.preparation.vocabulary import Counter, Vocabulary
from dtn_jax.schema import Field

# --- ragged arrays -------------------------------------------------------------------------------


def lists_of(seed, rows=40, longest=5):
    """Random lists of (id, weight)."""
    rng = np.random.default_rng(seed)
    return [
        [(int(rng.integers(99)), float(np.float32(rng.normal()))) for _ in range(size)]
        for size in rng.integers(0, longest + 1, rows)
    ]


def ragged(lists):
    flat = [pair for row in lists for pair in row]
    return Ragged(
        np.asarray([len(row) for row in lists]),
        np.asarray([i for i, _ in flat], np.int32),
        np.asarray([w for _, w in flat], np.float32),
    )


def same(got, lists):
    expected = ragged(lists)
    for name in ("lengths", "ids", "weights"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


def test_ragged_rows_against_lists():
    lists, other = lists_of(1), lists_of(2)
    values, rng = ragged(lists), np.random.default_rng(3)
    picked = rng.integers(-1, len(lists), 60)
    same(values.take(picked), [lists[i] for i in picked])
    mask = rng.random(len(lists)) < 0.5
    same(values.take(mask), [row for row, kept in zip(lists, mask) if kept])
    same(values.head(2), [row[:2] for row in lists])
    assert values.head(5) is values
    same(values.followed_by(ragged(other)), [a + b for a, b in zip(lists, other)])
    same(Ragged.join([values, ragged([]), ragged(other)]), lists + other)
    same(ragged([[], []]).take(np.asarray([1, 1, 0])), [[], [], []])


@pytest.mark.parametrize("slots", [1, 3, 7])
def test_padding_of_ragged_rows(slots):
    lists = lists_of(4)
    ids, weights = ragged(lists).padded(slots, weighted=True)
    for i, row in enumerate(lists):
        kept = row[:slots] + [(-1, 0.0)] * (slots - len(row))
        np.testing.assert_array_equal(ids[i], [n for n, _ in kept])
        np.testing.assert_array_equal(weights[i], np.float32([w for _, w in kept]))
    assert (ids.dtype, weights.dtype) == (np.int32, np.float32)
    assert ragged(lists).padded(slots, weighted=False)[1] is None
    assert (Ragged.empty(3).padded(slots, False)[0] == -1).all()


# --- vocabularies --------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [1, 1000])  # close together, and far apart
def test_numbers_have_the_rows_of_their_texts(spread):
    rng = np.random.default_rng(0)
    known = (spread * (rng.permutation(300) - 100)).astype(str)
    fitted = Vocabulary(values=(*known, "007", "x", "1.0", "9223372036854775808"))
    asked = pl.Series(rng.integers(-150 * spread, 250 * spread, 5000) // spread * spread)
    rows = fitted.encode(asked)
    np.testing.assert_array_equal(rows, fitted.encode(asked.cast(pl.String)))
    assert rows.dtype == np.int32
    assert (rows == 0).sum() > 100
    assert (rows > 0).sum() > 1000
    assert fitted.encode(pl.Series([7], dtype=pl.UInt8)) == fitted.encode(pl.Series(["7"]))
    huge = pl.Series([2**63, 7], dtype=pl.UInt64)
    np.testing.assert_array_equal(fitted.encode(huge), fitted.encode(huge.cast(pl.String)))
    assert Vocabulary(values=("a",)).encode(pl.Series([1, 2])).tolist() == [0, 0]


def test_counting_is_exact_however_often_it_merges(monkeypatch):
    monkeypatch.setattr(Counter, "LEAST", 20)
    rng = np.random.default_rng(1)
    counter, expected = Counter(), collections.Counter()
    assert counter.counts().is_empty()
    for i in range(30):
        values, times = rng.integers(0, 60, 50), rng.integers(1, 5, 50)
        if i % 2:
            counter.add(pl.Series(values.astype(str)))
            expected.update(values.astype(str).tolist())
        else:
            counter.add(pl.Series(values), pl.Series(times))
            for value, count in zip(values, times):
                expected[str(value)] += int(count)
    assert dict(counter.counts().iter_rows()) == dict(expected)


# --- the encoder ---------------------------------------------------------------------------------


LISTS = [["a", "b", "a", "z"], [], None, ["b", None, "c"], ["a"], ["c", "c", "c", "c", "b"]]


def fit(bag, *chunks):
    frames = [pl.DataFrame({"x": pl.Series(c, dtype=pl.List(pl.String))}) for c in chunks]
    return enc.fit({"x": bag}, frames)["x"]


def test_a_bag_keeps_its_first_values_and_has_the_slots_that_train_needs():
    column = pl.Series(LISTS, dtype=pl.List(pl.String))
    fitted = fit(Bag(max_values=4, min_count=2), LISTS[:3], LISTS[3:])
    # Kept: a b a z; b - c; a; c c c c. So "z" is rare, and the last "b" counts for nothing.
    assert fitted.values == ("c", "a", "b")
    assert (fitted.slots, fitted.rows) == (4, 4)
    none = [-1, -1, -1, -1]
    expected = [[2, 3, 2, 0], none, none, [3, 0, 1, -1], [2, -1, -1, -1], [1, 1, 1, 1]]
    assert fitted.encode(column).tolist() == expected
    assert fitted.cut(column) == 1
    roomy = fit(Bag(max_values=50), LISTS)
    assert (roomy.slots, roomy.cut(column)) == (5, 0)
    assert fit(Bag(), [[], None]).slots == 1
    longer = pl.Series([["a"] * 9], dtype=pl.List(pl.String))  # than any bag of train
    assert fitted.encode(longer).tolist() == [[2] * 4]
    assert (fitted.cut(longer), roomy.cut(longer)) == (5, 4)


def test_weights_go_with_their_values():
    fitted = fit(Bag(max_values=2, weights="w"), LISTS)
    weights = pl.Series([[1.0, 2.0, 3.0, 4.0], [], None, [5, 6, 7], [8], [9, 10, 11, 12, 13]])
    got = fitted.encode_weights(weights)
    assert got.tolist() == [[1, 2], [0, 0], [0, 0], [5, 6], [8, 0], [9, 10]]
    assert got.dtype == np.float32


def test_a_fitted_bag_goes_through_json_and_makes_a_field():
    fitted = {"x": fit(Bag(max_values=3, pooling="mean", weights="w"), LISTS)}
    again = enc.from_json(enc.to_json(fitted))
    assert again == fitted
    assert enc.field("x", again["x"]) == Field(
        "x", "bag", rows=4, slots=3, pooling="mean", weighted=True
    )
