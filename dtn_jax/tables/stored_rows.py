"""How a table's rows are stored: float32 as they are, bfloat16 as its bits, in uint16.

Into an array of bfloat16 XLA writes, on a CPU, by way of a copy in float32 of the whole array: a
step would cost what the table is long. Integers are written in place.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array

BITS = jnp.uint16  # the dtype of a table of bfloat16


def to_bits(rows: Array) -> Array:
    """Numbers as bits of the nearest bfloat16."""
    return jax.lax.bitcast_convert_type(rows.astype(jnp.bfloat16), BITS)


def numbers(rows: Array) -> Array:
    """What stored rows mean: float32 of bits, anything else as it is."""
    if rows.dtype != BITS:
        return rows
    return jax.lax.bitcast_convert_type(rows, jnp.bfloat16).astype(jnp.float32)
