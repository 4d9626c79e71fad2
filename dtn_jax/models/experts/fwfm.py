"""FwFM, "Field-weighted Factorization Machines for Click-Through Rate Prediction" (Pan 2018).

Letters: B batch, F fields, D embedding width, P = F(F-1)/2 pairs, H expert width; x is the flat
input of width F*D.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.layers import as_fields, dense, flat, inner_products


class FwFM(nn.Module):
    """f = x W + b + sum over i < j of <e_i, e_j> r_ij  (section 3, with linear terms FeLV).

    r_ij `[H]` says how strongly two fields interact; in the paper it is one number.
    """

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row; `codewords` are not read."""
        x = flat(fields).astype(self.dtype)
        products = inner_products(as_fields(fields).astype(self.dtype))
        linear = dense(self.width, self.dtype, name="linear")(x)
        return linear + dense(self.width, self.dtype, name="pairs", use_bias=False)(products)
