"""Encoders: vocabularies, identities and bags, fitted in chunks; their fields and JSON."""

import collections
import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from fitted import encode, fit

from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation import numbers
from dtn_jax.datasets.preparation.bags import Bag
from dtn_jax.datasets.preparation.encoders import (
    Identity,
    QuantileBuckets,
    Standardise,
    Vocabulary,
)
from dtn_jax.datasets.preparation.vocabulary import Counter
from dtn_jax.errors import UserError
from dtn_jax.schema import Field

ENCODERS = {
    "text": Vocabulary(min_count=3, unknown=("?",)),
    "code": Vocabulary(),
    "amount": QuantileBuckets(buckets=8),
    "price": Standardise(),
    "id": Identity(9),
}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    texts = np.array(["?", "a", "b", "c", "d"])[np.minimum(rng.geometric(0.4, 3_000) - 1, 4)]
    amount = np.where(rng.random(3_000) < 0.5, 0, rng.integers(1, 400, 3_000)).astype(float)
    amount[rng.random(3_000) < 0.1] = np.nan
    return pl.DataFrame(
        {
            "text": pl.Series(texts).set(pl.Series(rng.random(3_000) < 0.1), None),
            "code": rng.integers(0, 40, 3_000),
            "amount": amount,
            "price": pl.Series(rng.normal(3, 2, 3_000)).set(pl.Series(amount == 0), None),
            "id": rng.integers(0, 12, 3_000),
        }
    )


@pytest.mark.parametrize("size", [7, 2_999])
def test_fitting_does_not_depend_on_the_chunks(frame, size):
    assert enc.fit(ENCODERS, frame.iter_slices(size)) == enc.fit(ENCODERS, [frame])


def test_no_train_rows_at_all():
    with pytest.raises(UserError, match="the train split is empty"):
        enc.fit({"x": Vocabulary()}, [])


def test_fields_of_the_schema(frame):
    fields = {n: enc.field(n, e) for n, e in enc.fit(ENCODERS, [frame]).items()}
    assert {n: f.kind for n, f in fields.items()} == {
        "text": "categorical",
        "code": "categorical",
        "amount": "numeric",
        "price": "numeric",
        "id": "categorical",
    }
    assert [n for n, f in fields.items() if f.standardised] == ["price"]
    assert fields["code"].rows == 41
    assert fields["amount"].rows == 1 + 1 + 8
    assert (fields["price"].rows, fields["id"].rows) == (2, 10)


def test_quantiles_of_many_values_stay_close(monkeypatch):
    """Of more distinct values than are counted one by one."""
    rng = np.random.default_rng(4)
    values = rng.permutation(np.concatenate([rng.normal(size=36_000), np.zeros(4_000)]))
    chunks = [values[i : i + 2_500] for i in range(0, 40_000, 2_500)]
    both = []
    for most in (1_000_000, 3_000):
        monkeypatch.setattr(numbers, "MAX_DISTINCT", most)
        both.append((fit(QuantileBuckets(buckets=10), *chunks), fit(Standardise(), *chunks)))
    (exact, moments), (thinned, near) = both
    assert thinned.dominating == exact.dominating == (0.0,)
    rank = np.searchsorted(np.sort(values), [exact.edges, thinned.edges]) / len(values)
    assert rank.shape == (2, 9)
    np.testing.assert_allclose(rank[0], rank[1], atol=0.01)
    assert near.mean == pytest.approx(moments.mean, abs=0.02)
    assert near.deviation == pytest.approx(moments.deviation, rel=0.02)


def test_json_round_trip_is_exact(frame):
    fitted = enc.fit(ENCODERS, [frame])
    text = enc.to_json(fitted)
    again = enc.from_json(text)
    assert again == fitted
    assert list(again) == list(fitted)
    assert enc.to_json(again) == text
    assert enc.from_json(enc.to_json(ENCODERS)) == ENCODERS  # unfitted ones too
    assert isinstance(again["text"].values, tuple)
    for name, encoder in again.items():
        np.testing.assert_array_equal(encoder.encode(frame[name]), fitted[name].encode(frame[name]))
    thirds = fit(QuantileBuckets(buckets=3), np.arange(100) / 3)
    assert enc.from_json(enc.to_json({"x": thirds}))["x"] == thirds


def test_json_of_an_unknown_encoder():
    with pytest.raises(UserError, match="encoder of field 'x' 'hashing'"):
        enc.from_json(json.dumps({"x": {"kind": "hashing"}}))


@pytest.mark.slow
def test_schema_and_encoders_are_light():
    """Scoring reuses them: they must not bring the training code, or what reads and saves it."""
    code = (
        "import sys, dtn_jax.schema, dtn_jax.datasets.preparation.encoders; "
        "print({'tensorflow_datasets', 'grain', 'orbax', 'jax', 'flax'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_vocabulary_is_ordered_by_falling_count_then_by_value():
    fitted = fit(Vocabulary(), list("bbaacccdb"))
    assert fitted.values == ("b", "c", "a", "d")
    assert fitted.rows == 5
    assert encode(fitted, list("abcd")) == [3, 1, 2, 4]


def test_unknown_missing_and_unseen_values_get_row_0():
    fitted = fit(Vocabulary(unknown=("?", "n/a")), ["a", "?", "?", "?", None, "n/a", "b", "a"])
    assert fitted.values == ("a", "b")
    assert encode(fitted, ["?", None, "c", "n/a", "A", "b", "a"]) == [0, 0, 0, 0, 0, 2, 1]


def test_rare_values_are_unknown():
    fitted = fit(Vocabulary(min_count=2), list("aaabbc"))
    assert fitted.values == ("a", "b")
    assert encode(fitted, list("abc")) == [1, 2, 0]


def test_a_vocabulary_takes_numbers_and_categoricals_by_their_text():
    numbers = fit(Vocabulary(), [7, 7, 10], dtype=pl.Int64)
    assert numbers.values == ("7", "10")
    assert encode(numbers, ["10", "7"]) == encode(numbers, [10, 7], pl.UInt8) == [2, 1]
    texts = fit(Vocabulary(), ["u", "v", "v"], ["w", "w", "w"], dtype=pl.Categorical)
    assert texts.values == ("w", "v", "u")
    assert encode(texts, ["u", None, "w"], pl.Categorical) == [3, 0, 1]


def test_identity_needs_no_fitting():
    def frames():
        raise AssertionError("the train rows were read")
        yield

    encoders = {"i": Identity(3)}
    assert enc.fit(encoders, frames()) == encoders


def test_identity_lets_rows_of_its_table_through():
    encoder = Identity(5)
    assert encoder.rows == 6
    assert encode(encoder, [1, 5, 6, 0, -1, None, 2**40]) == [1, 5, 0, 0, 0, 0, 0]
    assert encode(encoder, [None], pl.Null) == [0]


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


LISTS = [["a", "b", "a", "z"], [], None, ["b", None, "c"], ["a"], ["c", "c", "c", "c", "b"]]


def fit_bag(bag, *chunks):
    return fit(bag, *chunks, dtype=pl.List(pl.String))


def test_a_bag_keeps_its_first_values_and_has_the_slots_that_train_needs():
    column = pl.Series(LISTS, dtype=pl.List(pl.String))
    fitted = fit_bag(Bag(max_values=4, min_count=2), LISTS[:3], LISTS[3:])
    # Kept: a b a z; b - c; a; c c c c. So "z" is rare, and the last "b" counts for nothing.
    assert fitted.values == ("c", "a", "b")
    assert (fitted.slots, fitted.rows) == (4, 4)
    none = [-1, -1, -1, -1]
    expected = [[2, 3, 2, 0], none, none, [3, 0, 1, -1], [2, -1, -1, -1], [1, 1, 1, 1]]
    assert fitted.encode(column).tolist() == expected
    assert fitted.cut(column) == 1
    roomy = fit_bag(Bag(max_values=50), LISTS)
    assert (roomy.slots, roomy.cut(column)) == (5, 0)
    assert fit_bag(Bag(), [[], None]).slots == 1
    longer = pl.Series([["a"] * 9], dtype=pl.List(pl.String))  # than any bag of train
    assert fitted.encode(longer).tolist() == [[2] * 4]
    assert (fitted.cut(longer), roomy.cut(longer)) == (5, 4)


def test_a_fitted_bag_goes_through_json_and_makes_a_field():
    fitted = {"x": fit_bag(Bag(max_values=3, pooling="mean", weights="w"), LISTS)}
    again = enc.from_json(enc.to_json(fitted))
    assert again == fitted
    assert enc.field("x", again["x"]) == Field(
        "x", "bag", rows=4, slots=3, pooling="mean", weighted=True
    )
