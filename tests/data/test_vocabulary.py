"""Vocabularies and identities: from values to ids."""

import polars as pl
from fitted import encode, fit

from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation.encoders import (
    Identity,
    Vocabulary,
)


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


def test_a_vocabulary_of_nothing_has_row_0_alone():
    fitted = fit(Vocabulary(unknown=("?",)), [None, "?"], dtype=pl.String)
    assert fitted.rows == 1
    assert encode(fitted, ["a", None]) == [0, 0]
    assert encode(fitted, [None, None], pl.Null) == [0, 0]


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
