"""The cross network of "DCN V2: Improved Deep & Cross Network" (Wang et al. 2021).

Letters: B batch, F fields, D embedding width, H expert width; x is the flat input of width F*D.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.layers import dense, flat
from dtn_jax.options import option


class DCNv2(nn.Module):
    """x_{l+1} = x_0 * (x_l W + b) + x_l;  f = x_L W_o + b_o.

    With a rank r > 0 the cross matrix is W = V U, V `[F*D, r]` and U `[r, F*D]`.
    """

    width: int
    layers: int = option(2, "cross layers", least=1, most=100)
    rank: int = option(0, "rank of the cross matrices; 0 is full", least=0)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row; `codewords` are not read."""
        x0 = x = flat(fields).astype(self.dtype)
        for layer in range(self.layers):
            inner = x
            if self.rank > 0:
                inner = dense(self.rank, self.dtype, name=f"down_{layer}", use_bias=False)(x)
            x = x0 * dense(x0.shape[-1], self.dtype, name=f"cross_{layer}")(inner) + x
        return dense(self.width, self.dtype, name="output")(x)
