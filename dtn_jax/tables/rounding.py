"""How new values of rows become what a table stores: bfloat16 is rounded at random."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dtn_jax.shapes import Array, Float, Int, Shaped
from dtn_jax.tables.hashing import scramble
from dtn_jax.tables.stored_rows import BITS, StoredRows


def rounded(
    values: Float[Array, "N lanes"],
    old: Float[Array, "N lanes"],
    step: Int[Array, ""],
    dtype,
    lie: StoredRows,
) -> Shaped[Array, "N lanes"]:
    """New values of lines as a table stores them; to bfloat16 they are rounded at random, up or
    down by how near each is.

    Rounded to the nearest, a row would never feel the many steps that are smaller than half of
    bfloat16's spacing (0.4 %). The random bits are a hash of the row's old values and of the step,
    so that they depend neither on the devices, nor on where in a batch a row stands, nor on how
    it lies in memory.
    """
    if dtype != BITS:
        return values.astype(dtype)

    def bits(x):
        return jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)

    column = jnp.asarray(lie.columns(), jnp.uint32) * np.uint32(0x9E3779B9)
    salt = scramble(column + step.astype(jnp.uint32))
    noise = scramble(bits(old) ^ salt[None]) >> 16
    kept = (bits(values) + noise) >> 16
    return kept.astype(BITS)
