"""A transformer over fields, "Attention Is All You Need" (Vaswani et al. 2017), section 3.

Letters: B batch, F fields, D embedding width, H expert width.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.dropout import Dropout
from dtn_jax.models.layers import as_fields, dense, flat, layer_norm
from dtn_jax.models.tokens import Attention
from dtn_jax.options import option


class Transformer(nn.Module):
    """A layer: e = LN(e + MultiHead(e));  e = LN(e + relu(e W_1 + b_1) W_2 + b_2);
    after the last, f = flat(e) W_o + b_o.

    There are no positions: the output layer has weights for each field. A head has D / heads
    numbers, rounded up.
    """

    width: int
    layers: int = option(2, "layers of the encoder", least=1, most=100)
    heads: int = option(2, "attention heads", least=1)
    hidden: int = option(64, "width of the feed-forward layer", least=1)
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row; `codewords` are not read."""
        e = as_fields(fields).astype(self.dtype)
        D = e.shape[-1]
        for layer in range(self.layers):
            name, width = f"layer_{layer}", -(-D // self.heads) * self.heads
            attend = Attention(self.heads, self.dtype, width=width, name=f"{name}_attention")
            o = attend(e, e)[0]
            e = layer_norm(e + Dropout(self.dropout)(o, train), self.dtype, f"{name}_attended")
            o = nn.relu(dense(self.hidden, self.dtype, name=f"{name}_hidden")(e))
            o = dense(D, self.dtype, name=f"{name}_forward")(o)
            e = layer_norm(e + Dropout(self.dropout)(o, train), self.dtype, f"{name}_forwarded")
        return dense(self.width, self.dtype, name="output")(flat(e))
