"""Target attention: the item at hand asks its history, with several heads.

Scaled dot products of Vaswani et al. 2017, "Attention Is All You Need", equation 1 and section
3.2.2, with the target alone as the query:

    o_h = Σ_s softmax_s(q_h · k_hs / √d) v_hs,   v(A) = [o_1 … o_H] W_O

q = v_A W_Q, k_s = e_s W_K, v_s = e_s W_V, each in H parts of d = D / H numbers.

Letters: B batch, S slots of the history, D embedding width, H heads.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.errors import UserError
from dtn_jax.models.histories.din import masked_softmax
from dtn_jax.models.histories.pooling import Pooling
from dtn_jax.models.layers import at_least_float32, dense
from dtn_jax.options import option
from dtn_jax.shapes import Array, Bool, Float


class TargetAttention(Pooling):
    """The target alone asks."""

    heads: int = option(2, "of target attention; they divide the embedding's width", least=1)

    @nn.compact
    def pooled(self, target: Array, items: Array, present: Array, train: bool) -> Array:
        return attend(target[:, None], items, present[:, None], self.heads, self.dtype)[:, 0]


def attend(
    asking: Float[Array, "B Q D"],
    asked: Float[Array, "B S D"],
    present: Bool[Array, "B Q S"],
    heads: int,
    dtype: Any,
) -> Float[Array, "B Q D"]:
    """Multi-head attention of `asking` over what is present of `asked`; inside of a module.

    Raises:
      UserError: the heads do not divide D.
    """
    width = asked.shape[-1]
    if width % heads:
        raise UserError(f"{heads} heads do not divide the embedding's width {width}")

    def parts(x: Array, name: str) -> Array:
        projected = dense(width, dtype, name=name, use_bias=False)(x.reshape(-1, width))
        return projected.reshape(*x.shape[:2], heads, width // heads)

    q, k, v = parts(asking, "query"), parts(asked, "key"), parts(asked, "value")
    scores = jnp.einsum("bqhd,bshd->bhqs", q, k).astype(at_least_float32(dtype))
    weights = masked_softmax(scores / (width // heads) ** 0.5, present[:, None])
    mixed = jnp.einsum("bhqs,bshd->bqhd", weights.astype(dtype), v)
    out = dense(width, dtype, name="out", use_bias=False)(mixed.reshape(-1, width))
    return out.reshape(asking.shape)
