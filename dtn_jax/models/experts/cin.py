"""CIN, of "xDeepFM: Combining Explicit and Implicit Feature Interactions" (Lian et al. 2018).

Letters: B batch, F fields, D embedding width, K rows of a layer, H expert width.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.layers import as_fields, at_least_float32, dense
from dtn_jax.options import option


class CIN(nn.Module):
    """c^0 = e;  c^l_k = sum over i, j of W^l_kij c^{l-1}_i * e_j  (equation 6);
    f = [sums over D of every c^l_k, l = 1..L] W_o + b_o  (7 and 8).

    Layers are linear, as the paper found best; it has 100 to 200 rows in each of 2 or 3.
    """

    width: int
    rows: tuple[int, ...] = option((32, 32), "rows of each layer")
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row; `codewords` are not read."""
        c = e = as_fields(fields).astype(self.dtype)
        init = nn.initializers.glorot_uniform(in_axis=(0, 1), out_axis=2)
        pooled = []
        for layer, rows in enumerate(self.rows):
            shape = (c.shape[1], e.shape[1], rows)
            W = self.param(f"layer_{layer}", init, shape, at_least_float32(self.dtype))
            c = jnp.einsum("bid,bjd,ijk->bkd", c, e, W.astype(self.dtype))
            pooled.append(jnp.sum(c, axis=-1))
        return dense(self.width, self.dtype, name="output")(jnp.concatenate(pooled, axis=-1))
