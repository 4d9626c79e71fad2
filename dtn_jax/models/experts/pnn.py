"""PNN, "Product-based Neural Networks for User Response Prediction" (Qu et al. 2016).

Letters: B batch, F fields, D embedding width, P = F(F-1)/2 pairs, H expert width; x is the flat
input of width F*D.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.layers import as_fields, dense, flat, hidden_layers, inner_products
from dtn_jax.options import option

KINDS = ("inner", "outer")


class PNN(nn.Module):
    """f = relu(h W_o + b_o)  with h the last of the hidden relu layers on [x, p].

    Inner (IPNN, section III.B): p holds <e_i, e_j> for i < j. Outer (OPNN, III.C): p is
    s s^T, flat, with s the sum of all fields. The paper has three hidden layers.
    """

    width: int
    kind: str = option("inner", "the products of fields: inner or outer", choices=KINDS)
    hidden: tuple[int, ...] = option((128,), "hidden widths before the output layer of width H")
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row; `codewords` are not read."""
        e = as_fields(fields).astype(self.dtype)
        if self.kind == "inner":
            p = inner_products(e)
        else:
            s = jnp.sum(e, axis=1)
            p = flat(s[:, :, None] * s[:, None, :])
        z = jnp.concatenate([flat(fields).astype(self.dtype), p], axis=-1)
        h = hidden_layers(z, self.hidden, self.dtype, self.dropout, train)
        return nn.relu(dense(self.width, self.dtype, name="output")(h))
