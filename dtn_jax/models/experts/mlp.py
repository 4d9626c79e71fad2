"""The plain expert, a multi-layer perceptron.

Letters: B batch, F fields, D embedding width, P field pairs, N hashes, C codebooks, H expert
width.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.models.layers import dense, flat, hidden_layers
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


class MLP(nn.Module):
    """f = relu(h W_o + b_o) with h the last of the hidden relu layers on the flat input.

    The experts of MMoE (Ma et al. 2018) with layers of 128 and 64 units are `hidden=(128,)`,
    `width=64`.
    """

    width: int
    hidden: tuple[int, ...] = option((128,), "hidden widths before the output layer of width H")
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        fields: Float[Array, "B F D"],
        codewords: Float[Array, "B P N C D2"] | None,
        train: bool,
        first: Float[Array, "B K"] | None = None,
    ) -> Float[Array, "B H"]:
        """`first` is the product of the first hidden layer, where it was made beside others."""
        x = flat(fields).astype(self.dtype)
        h = hidden_layers(x, self.hidden, self.dtype, self.dropout, train, first)
        return nn.relu(dense(self.width, self.dtype, name="output")(h))
