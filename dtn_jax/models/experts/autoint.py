"""AutoInt, "Automatic Feature Interaction Learning via Self-Attentive Neural Networks"
(Song et al. 2019).

Letters: B batch, F fields, D embedding width, K heads, H expert width.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.layers import as_fields, dense, flat
from dtn_jax.models.tokens import Attention
from dtn_jax.options import option


class AutoInt(nn.Module):
    """A layer, for each field m and head k, equations 5 to 8:
    a_mn = softmax over n of <Q_k e_m, K_k e_n>;  o_mk = sum over n of a_mn V_k e_n;
    e_m = relu([o_m1, ..., o_mK] + R e_m);  after the last, f = flat(e) W_o + b_o.
    """

    width: int
    layers: int = option(3, "interacting layers", least=1, most=100)
    heads: int = option(2, "K, attention heads", least=1)
    head_dim: int = option(32, "width of a head", least=1)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row; `codewords` are not read."""
        e, K = as_fields(fields).astype(self.dtype), self.heads * self.head_dim
        own = {"matrices": ("query", "key", "value"), "width": K, "scaled": False}
        for layer in range(self.layers):
            attend = Attention(self.heads, self.dtype, **own, name=f"attention_{layer}")
            residual = dense(K, self.dtype, name=f"residual_{layer}", use_bias=False)
            e = nn.relu(attend(e, e)[0] + residual(e))
        return dense(self.width, self.dtype, name="output")(flat(e))
