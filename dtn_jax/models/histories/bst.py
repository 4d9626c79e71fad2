"""BST, "Behavior Sequence Transformer for E-commerce Recommendation in Alibaba" (Chen et al. 2019).

One transformer block over the history with the target as its newest place (section 3.2):

    E' = E + P                                  P [S + 1, D]: a learned row for each age
    M  = LayerNorm(E' + MultiHead(E'))
    F  = LayerNorm(M + W_2 LeakyReLU(M W_1))

The paper hands on all places of F; here it is the target's, one vector as from the other poolings.
Its positions are differences of time; here they are ages in places: 0 of the target, 1 of the
newest item.

Letters: B batch, S slots of the history, D embedding width.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.models.dropout import Dropout
from dtn_jax.models.histories.pooling import Pooling
from dtn_jax.models.layers import at_least_float32, dense, layer_norm
from dtn_jax.models.tokens import Attention
from dtn_jax.options import option
from dtn_jax.shapes import Array


class BST(Pooling):
    """One block.

    Attributes:
      scale: standard deviation of the first rows of P.
      dropout: rate, on what attention and the last product give.
    """

    heads: int = option(2, "of BST's attention; they divide the embedding's width", least=1)
    hidden: int = option(64, "width of BST's feed-forward layer", least=1)
    scale: float = 0.01
    dropout: float = 0.0

    @nn.compact
    def pooled(self, target: Array, items: Array, present: Array, train: bool) -> Array:
        batch, slots, width = items.shape
        exact = at_least_float32(self.dtype)
        P = self.param("ages", nn.initializers.normal(self.scale), (slots + 1, width), exact)
        age = jnp.cumsum(present[:, ::-1], axis=1)[:, ::-1]  # items from here to the newest
        x = jnp.concatenate([items + P[age].astype(self.dtype), (target + P[:1])[:, None]], axis=1)
        x = x.astype(self.dtype)
        every = jnp.concatenate([present, jnp.ones((batch, 1), bool)], axis=1)
        newest = x[:, -1:]  # the only place that is handed on, and so the only one that asks
        read = Attention(self.heads, self.dtype, name="attention")(newest, x, every[:, None])[0]
        x = layer_norm(newest + Dropout(self.dropout)(read, train), self.dtype, "attended")[:, 0]
        y = dense(self.hidden, self.dtype, name="hidden")(x)
        y = dense(width, self.dtype, name="forward")(nn.leaky_relu(y))
        return layer_norm(x + Dropout(self.dropout)(y, train), self.dtype, "forwarded")
