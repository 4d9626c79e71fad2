"""DeepFM, "DeepFM: A Factorization-Machine based Neural Network for CTR Prediction" (Guo 2017).

Letters: B batch, F fields, D embedding width, H expert width; x is the flat input of width F*D.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.experts.fm import FM
from dtn_jax.models.layers import dense, flat, hidden_layers
from dtn_jax.options import option


class DeepFM(nn.Module):
    """f = FM(e) + h U  with h the last of the hidden relu layers on x (equation 1).

    Both parts read the same embeddings. The paper has three layers of 400 units.
    """

    width: int
    hidden: tuple[int, ...] = option((128,), "hidden widths of the deep part")
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row; `codewords` are not read."""
        x = flat(fields).astype(self.dtype)
        h = hidden_layers(x, self.hidden, self.dtype, self.dropout, train)
        deep = dense(self.width, self.dtype, name="output", use_bias=False)(h)
        return FM(self.width, self.dtype, name="fm")(fields, None, train) + deep
