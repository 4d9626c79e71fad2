"""FINAL, "FINAL: Factorized Interaction Layer for CTR Prediction" (Zhu et al. 2023).

Equations as in the authors' code, reczoo/FuxiCTR `model_zoo/FINAL`, block type 1B, without its
normalisation over the batch.

Letters: B batch, F fields, D embedding width, H expert width; x is the flat input of width F*D.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.dropout import Dropout
from dtn_jax.models.layers import as_fields, at_least_float32, dense, flat
from dtn_jax.options import option

KINDS = ("concat", "sum")


class FINAL(nn.Module):
    """g = e^T G + g_0 over the fields;  z = [x, flat(e * g)];
    a layer: [u, v] = z W + b, then z = [u, u * v] (`concat`) or u + u * v (`sum`);
    f = z W_o + b_o.

    Each layer doubles the degree of the interactions. At the start every gate g is 1.
    """

    width: int
    kind: str = option("concat", "how a layer keeps its linear part beside products", choices=KINDS)
    layers: int = option(2, "factorized interaction layers", least=1, most=100)
    products: int = option(32, "products of a layer, the width of u and of v", least=1)
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row; `codewords` are not read."""
        e = as_fields(fields).astype(self.dtype)
        F, exact = e.shape[1], at_least_float32(self.dtype)
        G = self.param("gate", nn.initializers.zeros, (F, F), exact).astype(self.dtype)
        g_0 = self.param("gate_bias", nn.initializers.ones, (F,), exact).astype(self.dtype)
        g = jnp.einsum("bfd,fg->bgd", e, G) + g_0[None, :, None]
        z = jnp.concatenate([flat(e), flat(e * g)], axis=-1)
        for layer in range(self.layers):
            z = dense(2 * self.products, self.dtype, name=f"layer_{layer}")(z)
            u, v = jnp.split(z, 2, axis=-1)
            z = jnp.concatenate([u, u * v], axis=-1) if self.kind == "concat" else u + u * v
            z = Dropout(self.dropout)(z, train)
        return dense(self.width, self.dtype, name="output")(z)
