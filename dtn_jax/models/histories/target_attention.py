"""Target attention: the item at hand asks its history, with several heads.

Scaled dot products of Vaswani et al. 2017, "Attention Is All You Need", equation 1 and section
3.2.2, with the target alone as the query:

    o_h = Σ_s softmax_s(q_h · k_hs / √d) v_hs,   v(A) = [o_1 … o_H] W_O

q = v_A W_Q, k_s = e_s W_K, v_s = e_s W_V, each in H parts of d = D / H numbers.

Letters: B batch, S slots of the history, D embedding width, H heads.
"""

from __future__ import annotations

from flax import linen as nn

from dtn_jax.models.histories.pooling import Pooling
from dtn_jax.models.tokens import Attention
from dtn_jax.options import option
from dtn_jax.shapes import Array


class TargetAttention(Pooling):
    """The target alone asks."""

    heads: int = option(2, "of target attention; they divide the embedding's width", least=1)

    @nn.compact
    def pooled(self, target: Array, items: Array, present: Array, train: bool) -> Array:
        attend = Attention(self.heads, self.dtype, name="attention")
        return attend(target[:, None], items, present[:, None])[0][:, 0]
