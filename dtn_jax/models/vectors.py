"""Vector fields, such as a content embedding: projected before an architecture sees the fields.

    e = x W + b  of a known vector x [K],  e = m  of a missing one,  W [K, D]

b and m [D] are rows 1 and 0 of the field's table, which its one id looks up as every id does. W is
a dense parameter and not K table rows: those would be gathered, sorted and updated for each
example.
"""

from __future__ import annotations

from typing import Any

from flax import linen as nn

from dtn_jax.models.layers import at_least_float32
from dtn_jax.shapes import Array, Float


class Projection(nn.Module):
    """f(x) = x W.

    At first W is normal with variance s² / K, LeCun's times s: of standardised numbers, x W has a
    variance of s², as a looked-up row has.

    Attributes:
      width: D.
      scale: s, the standard deviation of the tables' initial rows.
      dtype: of the product.
    """

    width: int
    scale: float
    dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, "B K"]) -> Float[Array, "B D"]:
        """f(x); zeros, as a missing vector has, give zeros."""
        init = nn.initializers.variance_scaling(self.scale**2, "fan_in", "normal")
        W = self.param("kernel", init, (x.shape[1], self.width), at_least_float32(self.dtype))
        return x.astype(self.dtype) @ W.astype(self.dtype)
