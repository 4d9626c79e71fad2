"""The gated cross network, "Towards Deeper, Lighter and Interpretable Cross Network" (GDCN, 2023).

Letters: B batch, F fields, D embedding width, H expert width; x is the flat input of width F*D.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.layers import dense, flat
from dtn_jax.options import option


class GDCN(nn.Module):
    """c_0 = x;  c_{l+1} = x * (c_l W_c + b_c) * sigmoid(c_l W_g) + c_l;  f = c_L W_o + b_o.

    A layer raises the degree of the interactions by one; its gate decides how much of each
    new one is kept. The gate has no bias and the output layer is linear.
    """

    width: int
    layers: int = option(2, "gated cross layers", least=1, most=100)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row; `codewords` are not read."""
        x = c = flat(fields).astype(self.dtype)
        size = x.shape[-1]
        for layer in range(self.layers):
            crossed = x * dense(size, self.dtype, name=f"cross_{layer}")(c)
            gate = nn.sigmoid(dense(size, self.dtype, name=f"gate_{layer}", use_bias=False)(c))
            c = crossed * gate + c
        return dense(self.width, self.dtype, name="output")(c)
