"""The addresses of HCNet's codebooks: everywhere the same, uniform and independent."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.tables.addresses import pair_addresses


def address(a, b, i, j, n, rows, seed):
    """One address, in Python's whole numbers."""

    def scramble(x):
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            x = ((x ^ (x >> shift)) * factor) % 2**32
        return x ^ (x >> 16)

    key = scramble(((n + 1) * 0x9E3779B9 + seed) % 2**32)
    key = scramble(scramble(key ^ i) ^ j)
    return scramble(scramble(a % 2**32 ^ key) ^ b % 2**32) % rows


def test_addresses_are_the_same_everywhere():
    ids = np.random.default_rng(0).integers(-1, 2**31 - 1, size=(20, 4), dtype=np.int32)
    ids[0], ids[1] = -1, 0
    options = {"hashes": 3, "rows": 100_003, "seed": 2**40 + 5}
    got = pair_addresses(ids, **options)
    assert isinstance(got, np.ndarray)
    assert got.dtype == np.int32
    assert got.shape == (20, 6, 3)
    pairs = list(itertools.combinations(range(4), 2))
    expected = [
        [
            [address(int(row[i]), int(row[j]), i, j, n, 100_003, 5) for n in range(3)]
            for i, j in pairs
        ]
        for row in ids
    ]
    np.testing.assert_array_equal(got, expected)
    hashed = jax.jit(functools.partial(pair_addresses, **options))(ids)
    assert hashed.dtype == jnp.int32
    np.testing.assert_array_equal(hashed, got)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(pair_addresses(jnp.asarray(ids), **options), got)


def test_addresses_are_golden():
    # A saved model's codebook is worthless under other addresses: these numbers must stay.
    ids = np.array([[1, 2, 3], [-1, 0, 2_000_000_000]], np.int32)
    got = pair_addresses(ids, hashes=2, rows=100_000, seed=0)
    assert got[0].tolist() == [[96296, 65150], [96251, 44022], [92110, 72526]]
    assert got[1].tolist() == [[46910, 18308], [83336, 42141], [4908, 19599]]


def test_addresses_are_uniform_and_independent():
    # Neighbouring ids, the hard case: 40,000 pairs into 64 rows, and the two hashes together.
    grid = np.stack(np.meshgrid(np.arange(200), np.arange(200)), axis=-1)
    ids = grid.reshape(-1, 2).astype(np.int32)
    rows = 64
    got = pair_addresses(ids, hashes=2, rows=rows, seed=1)[:, 0]
    assert got.min() == 0
    assert got.max() == rows - 1

    def chi_square(values, size):
        mean = len(values) / size
        return np.sum((np.bincount(values, minlength=size) - mean) ** 2) / mean

    for values, size in (
        (got[:, 0], rows),
        (got[:, 1], rows),
        (got[:, 0] * rows + got[:, 1], rows**2),
    ):
        degrees = size - 1  # mean, and half the variance, of chi-square
        assert abs(chi_square(values, size) - degrees) < 5 * np.sqrt(2 * degrees)


def test_addresses_differ_by_pair_order_and_seed():
    def collisions(a, b):
        return np.mean(a == b)

    one = np.random.default_rng(0).integers(0, 1000, size=(2000, 1), dtype=np.int32)
    same = np.repeat(one, 4, axis=1)  # the same id in all four fields
    got = pair_addresses(same, hashes=1, rows=1000, seed=0)[:, :, 0]
    for p, q in itertools.combinations(range(6), 2):
        assert collisions(got[:, p], got[:, q]) < 0.01
    other = np.random.default_rng(1).integers(0, 1000, size=(2000, 1), dtype=np.int32)
    there, back = np.concatenate([one, other], 1), np.concatenate([other, one], 1)
    hashed = functools.partial(pair_addresses, hashes=1, rows=1000)
    assert collisions(hashed(there, seed=0), hashed(back, seed=0)) < 0.01
    assert collisions(hashed(there, seed=0), hashed(there, seed=1)) < 0.01
