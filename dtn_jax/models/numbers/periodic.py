"""Periodic functions of a number with learned frequencies, then a linear layer and relu.

Gorishniy, Rubachev and Babenko (2022): On Embeddings for Numerical Features in Tabular Deep
Learning, section 3.3 (P), followed by a linear layer (L) and relu (R): their PLR.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.models.layers import at_least_float32
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


class Periodic(nn.Module):
    """f(x) = relu(W [sin v, cos v] + a),  v = 2π (c_1 x, ..., c_k x), with c, W and a learned.

    Attributes:
      width: D.
      scale: s; at first W is normal with variance s² / k, and a is 0.
      dtype: of the product with W; v, sin and cos have at least float32.
      frequencies, sigma: their defaults are those of the authors' package rtdl_num_embeddings;
        the paper tunes k from 1 to 128 and σ from 0.01 to 100.
    """

    width: int
    scale: float
    dtype: Any
    frequencies: int = option(48, "k, the learned frequencies of a number", least=1, below=2**31)
    sigma: float = option(
        0.01,
        "σ, standard deviation of the initial frequencies, in periods a standard deviation of the "
        "number; the first option to tune, from 0.01 to 100",
        above=0.0,
    )

    @nn.compact
    def __call__(self, x: Float[Array, " B"]) -> Float[Array, "B D"]:
        """f(x), for standardised numbers x."""
        wide = at_least_float32(self.dtype)
        c = self.param("c", nn.initializers.normal(self.sigma), (self.frequencies,), wide)
        v = 2 * jnp.pi * x.astype(wide)[:, None] * c[None]
        waves = jnp.concatenate([jnp.sin(v), jnp.cos(v)], axis=1).astype(self.dtype)
        init = nn.initializers.variance_scaling(2 * self.scale**2, "fan_in", "normal")
        W = self.param("kernel", init, (2 * self.frequencies, self.width), wide)
        a = self.param("bias", nn.initializers.zeros, (self.width,), wide)
        return nn.relu(waves @ W.astype(self.dtype) + a.astype(self.dtype)[None])
