"""The trunk of "RankMixer: Scaling Up Ranking Models in Industrial Recommenders" (2507.15551).

Letters: B batch, F fields, D embedding width, T tokens, K a token's width, H expert width.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.layers import dense, equal_parts, flat
from dtn_jax.models.tokens import PerToken, RankMixerBlock
from dtn_jax.options import option


class TokenMixing(nn.Module):
    """x cut into T equal parts, each projected to a token of K = T * head_dim; then blocks of
    `RankMixerBlock`; at last f = (mean over tokens) W_o + b_o.
    """

    width: int
    tokens: int = option(8, "T, tokens into which the fields are cut", least=1, most=10_000)
    head_dim: int = option(8, "numbers that a token gives to each; it has T times as many", least=1)
    blocks: int = option(2, "blocks of mixing and feed-forward layers", least=1, most=100)
    expansion: int = option(2, "hidden width of the feed-forward layers, in K", least=1)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row; `codewords` are not read."""
        parts = equal_parts(flat(fields).astype(self.dtype), self.tokens)
        t = PerToken(self.tokens * self.head_dim, self.dtype, name="tokens")(parts)
        for block in range(self.blocks):
            t = RankMixerBlock(self.expansion, self.dtype, name=f"block_{block}")(t)
        return dense(self.width, self.dtype, name="output")(jnp.mean(t, axis=1))
