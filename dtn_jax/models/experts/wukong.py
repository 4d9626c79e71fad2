"""Wukong, "Wukong: Towards a Scaling Law for Large-Scale Recommendation" (2403.02545).

Letters: B batch, F fields, D embedding width, n embeddings of a layer, k the rank of the FM, H
expert width.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.layers import (
    as_fields,
    at_least_float32,
    dense,
    flat,
    hidden_layers,
    layer_norm,
)
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


class Wukong(nn.Module):
    """A layer turns embeddings X `[n, D]` into X' = LN([FMB(X); LCB(X)] + R X)  (section 3.2):
    FMB(X) = MLP(LN(flat(X X^T Y))), cut into rows (FM, with Y `[n, k]`);  LCB(X) = L X;
    after the last, f = flat(X) W_o + b_o.

    R is the identity where a layer has as many rows as the one before, else it is learned.
    """

    width: int
    layers: int = option(2, "layers of FM and linear compression", least=1, most=100)
    interacted: int = option(8, "rows of a layer that its FM makes", least=1)
    compressed: int = option(8, "rows of a layer that linear compression makes", least=1)
    rank: int = option(8, "k, columns of Y", least=1)
    hidden: tuple[int, ...] = option((64,), "hidden widths of the FM block's MLP")
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row; `codewords` are not read."""
        X = as_fields(fields).astype(self.dtype)
        D, rows = X.shape[-1], self.interacted + self.compressed
        for layer in range(self.layers):
            name, n = f"layer_{layer}", X.shape[1]
            XY = jnp.einsum("bmd,mk->bdk", X, self._matrix(f"{name}_projection", n, self.rank))
            fm = layer_norm(flat(X @ XY), self.dtype, f"{name}_fm")
            h = hidden_layers(
                fm, self.hidden, self.dtype, self.dropout, train, name=f"{name}_hidden"
            )
            fmb = dense(self.interacted * D, self.dtype, name=f"{name}_interaction")(h)
            compression = self._matrix(f"{name}_compression", n, self.compressed)
            lcb = jnp.einsum("bnd,nm->bmd", X, compression)
            if rows != n:
                X = jnp.einsum("bnd,nm->bmd", X, self._matrix(f"{name}_residual", n, rows))
            made = jnp.concatenate([fmb.reshape(-1, self.interacted, D), lcb], axis=1)
            X = layer_norm(made + X, self.dtype, f"{name}_norm")
        return dense(self.width, self.dtype, name="output")(flat(X))

    def _matrix(self, name: str, *shape: int) -> Float[Array, "_ _"]:
        init = nn.initializers.glorot_uniform()
        return self.param(name, init, shape, at_least_float32(self.dtype)).astype(self.dtype)
