"""An integer hash that NumPy and JAX compute alike, on every device."""

from __future__ import annotations

import numpy as np

from dtn_jax.shapes import Array, UInt32


def scramble(
    x: UInt32[Array | np.ndarray, "*shape"],
) -> UInt32[Array | np.ndarray, "*shape"]:
    """A bijection of 32 bits in which every input bit flips every output bit half of the time."""
    # The constants of MurmurHash3's finaliser; arithmetic wraps at 2^32.
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    x = (x ^ (x >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return x ^ (x >> np.uint32(16))
