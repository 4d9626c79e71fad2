"""A value's key: the same in every format, and apart from every other value's."""

import datetime

import numpy as np
import polars as pl
import pytest

from dtn_jax.datasets.logs import keys


def key(values, dtype=None):
    made, there = keys.keys(pl.Series(values, dtype=dtype))
    assert there.all()
    return made.tolist()


def test_a_whole_number_and_its_text_have_one_key():
    numbers = [0, 1, -1, 7, 10**9, -(10**17), 2**40]
    texts = [str(n) for n in numbers]
    assert key(numbers) == key(texts)
    assert key([0.0, 7.0, -1.0]) == key([0, 7, -1])
    assert key([7], pl.UInt8) == key([7], pl.Int64) == key(["7"])


@pytest.mark.parametrize("text", ["007", "-0", "+7", "7.0", " 7", "7 ", "0x7", "7_0", ""])
def test_a_text_that_no_number_writes_has_a_key_of_its_own(text):
    assert key([text])[0] not in key([7, 0, 70, -7])


def test_numbers_come_back_from_their_keys():
    numbers = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 1000)
    np.testing.assert_array_equal(keys.numbers_of(keys.number_keys(numbers)), numbers)


def test_texts_of_every_length_have_different_keys():
    texts = ["a" * n for n in range(70)] + ["b" * n for n in range(1, 70)]
    texts += [f"{'x' * n}{letter}" for n in range(33) for letter in "yz"]
    texts += ["é", "e", "日本", "日", "a\0", "a\0\0"]
    assert len(set(key(texts))) == len(set(texts))


def test_keys_are_these():
    """Vocabularies depend on them. The first is SplitMix64's first number from seed 0."""
    assert key([0, 1]) == [0xE220A8397B1DCDAF, 10451216379200822465]
    texts = [13335431637489503539, 9370218965779684112, 3618716536167495180]
    assert key(["a", "", "user_000000001"]) == texts
    assert key([""]) == texts[1:2]


def test_a_text_has_its_key_wherever_it_stands():
    texts = pl.Series([f"value {n}" * (n % 5) for n in range(100)])
    whole, _ = keys.keys(texts)
    part, _ = keys.keys(texts[37:60])
    np.testing.assert_array_equal(part, whole[37:60])


def test_missing_values_are_told():
    for column in (
        pl.Series([1, None, 3]),
        pl.Series([1.0, float("nan"), 2.5]),
        pl.Series(["a", None, ""]),
        pl.Series([True, None, False]),
    ):
        np.testing.assert_array_equal(keys.keys(column)[1], [True, False, True])


def test_booleans_and_times_have_keys():
    assert len(set(key([True, False]))) == 2
    days = [datetime.date(2026, 1, n) for n in range(1, 29)]
    assert len(set(key(days))) == 28


def test_an_input_bit_flips_half_of_the_output_bits():
    numbers = np.random.default_rng(1).integers(0, 2**62, 2000).astype(np.uint64)
    for bit in range(0, 64, 7):
        flipped = keys.mixed(numbers) ^ keys.mixed(numbers ^ np.uint64(1 << bit))
        share = np.unpackbits(flipped.view(np.uint8)).mean()
        assert abs(share - 0.5) < 0.01


def test_hashed_rows_are_even_and_functions_independent():
    made = keys.number_keys(np.arange(100_000))
    first, second = (keys.hashed_rows(made, 100, f).astype(int) for f in range(2))
    for rows in (first, second):
        counts = np.bincount(rows, minlength=100)
        assert (np.abs(counts - 1000) < 6 * np.sqrt(1000)).all()
    together = np.bincount(first * 100 + second, minlength=10_000)
    assert abs(together.var() / together.mean() - 1) < 0.1  # as Poisson


def test_draws_are_even_and_seeds_independent():
    made = keys.number_keys(np.arange(50_000))
    a, b = keys.drawn(made, 0), keys.drawn(made, 1)
    assert abs(a.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.02
    np.testing.assert_array_equal(a, keys.drawn(made, 0))


def test_the_order_of_a_cross_counts():
    a, b = keys.number_keys(np.arange(50)), keys.number_keys(np.arange(50)[::-1].copy())
    assert (keys.crossed(a, b) != keys.crossed(b, a)).all()
    every = keys.crossed(np.repeat(a, 50), np.tile(b, 50))
    assert len(set(every.tolist())) == 2500
