"""Piecewise-linear encoding of a number, then a linear layer.

Gorishniy, Rubachev and Babenko (2022): On Embeddings for Numerical Features in Tabular Deep
Learning, section 3.2 (PLE), with the quantile bins of section 3.2.1.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dtn_jax.models.layers import at_least_float32
from dtn_jax.shapes import Array, Float


class PiecewiseLinear(nn.Module):
    """f(x) = sum over t of PLE_t(x) w_t, over the bins [b_{t-1}, b_t), t = 1 ... T:

        PLE_t(x) = 0                                  where x < b_{t-1}, t > 1
                   1                                  where x >= b_t, t < T
                   (x - b_{t-1}) / (b_t - b_{t-1})    elsewhere

    So f is continuous, linear in each bin, and goes on beyond the outer edges. The row of known
    numbers is the layer's bias.

    Attributes:
      width: D.
      edges: b_0 ... b_T, ascending, in units of x.
      scale: s; at first w is normal with variance s² / T, as a vector's projection.
      dtype: of the product with w; PLE itself has at least float32.
    """

    width: int
    edges: tuple[float, ...]
    scale: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, " B"]) -> Float[Array, "B D"]:
        """f(x), for standardised numbers x."""
        wide = at_least_float32(self.dtype)
        init = nn.initializers.variance_scaling(self.scale**2, "fan_in", "normal")
        w = self.param("kernel", init, (len(self.edges) - 1, self.width), wide)
        return encoded(x.astype(wide), self.edges).astype(self.dtype) @ w.astype(self.dtype)


def encoded(x: Float[Array, " B"], edges: tuple[float, ...]) -> Float[Array, "B T"]:
    """PLE(x)."""
    b = np.asarray(edges)
    least, most = np.zeros(len(b) - 1), np.ones(len(b) - 1)
    least[0], most[-1] = -np.inf, np.inf
    low, size, least, most = (
        jnp.asarray(a, x.dtype)[None] for a in (b[:-1], np.diff(b), least, most)
    )
    return jnp.clip((x[:, None] - low) / size, least, most)
