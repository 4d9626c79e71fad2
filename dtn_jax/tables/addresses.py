"""Which rows of HCNet's codebooks a pair of field values has."""

from __future__ import annotations

import numpy as np

from dtn_jax.errors import choose
from dtn_jax.schema import Schema
from dtn_jax.shapes import Array, Int32
from dtn_jax.tables.hashing import scramble


def pair_fields(schema: Schema, names: tuple[str, ...]) -> tuple[str, ...]:
    """The fields that form pairs: those of `names`, or all, that have one id and no numbers."""
    single = [f.name for f in schema.read if f.slots == 1 and not f.numbers]
    for name in names:
        choose("field in model.hcnet.fields", name, single)
    return tuple(name for name in single if not names or name in names)


def pairs(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The first and the second field of each of the P pairs i < j, in lexicographic order."""
    return np.triu_indices(size, 1)


def pair_addresses(
    ids: Int32[Array | np.ndarray, "B S"], *, hashes: int, rows: int, seed: int
) -> Int32[Array | np.ndarray, "B P N"]:
    """The row, in [0, rows), of each pair of fields under each of N = `hashes` hash functions.

    NumPy in, NumPy out; JAX in, JAX out; the numbers are the same. Equal ids in other fields
    have other addresses. A negative (padding) id is a value like any other.
    """
    first, second = pairs(ids.shape[1])
    # One key for each (pair of fields, hash function), known before any id: [1, P, N].
    number = np.arange(1, hashes + 1, dtype=np.uint32)[None, None, :]
    key = scramble(number * np.uint32(0x9E3779B9) + np.uint32(seed % 2**32))
    key = scramble(key ^ first.astype(np.uint32)[None, :, None])
    key = scramble(key ^ second.astype(np.uint32)[None, :, None])
    unsigned = ids.astype(np.uint32)
    hashed = scramble(unsigned[:, first, None] ^ key)
    hashed = scramble(hashed ^ unsigned[:, second, None])
    return (hashed % np.uint32(rows)).astype(np.int32)
