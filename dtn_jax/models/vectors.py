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


def projection(*, width: int, scale: float, dtype: Any, name: str) -> nn.Dense:
    """f(x) = x W of `[B, K]` vectors to `[B, width]`; zeros, as a missing vector has, give zeros.

    At first W is normal with variance s² / K, LeCun's times s: of standardised numbers, x W has a
    variance of s², as a looked-up row has.

    Args:
      width: D.
      scale: s, the standard deviation of the tables' initial rows.
      dtype: of the product.
      name: of the field.
    """
    init = nn.initializers.variance_scaling(scale**2, "fan_in", "normal")
    exact = at_least_float32(dtype)
    return nn.Dense(
        width, use_bias=False, dtype=dtype, param_dtype=exact, kernel_init=init, name=name
    )
