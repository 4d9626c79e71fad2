"""The block of "RankMixer: Scaling Up Ranking Models in Industrial Recommenders" (2507.15551).

Letters: B batch, F fields, D embedding width, T tokens, K a token's width, H expert width.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.models.layers import at_least_float32, dense, equal_parts, flat, layer_norm
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


class TokenMixing(nn.Module):
    """x cut into T equal parts, each projected to a token of K = T * head_dim; then, a block:
    s = LN(mix(t) + t);  t = LN(FFN(s) + s);  at last f = mean over tokens of t, W_o + b_o.

    mix cuts every token into T heads: token h of the result holds head h of all tokens. FFN is
    gelu(s W_1 + b_1) W_2 + b_2, with weights of each token's own.
    """

    width: int
    tokens: int = option(8, "T, tokens into which the fields are cut", least=1, most=10_000)
    head_dim: int = option(
        8, "numbers that a token gives to each; a token has T times as many", least=1
    )
    blocks: int = option(2, "blocks of mixing and feed-forward layers", least=1, most=100)
    expansion: int = option(2, "hidden width of the feed-forward layers, in K", least=1)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        fields: Float[Array, "B F D"],
        codewords: Float[Array, "B P N C D2"] | None,
        train: bool,
    ) -> Float[Array, "B H"]:
        """f of each row; `codewords` are not read."""
        K = self.tokens * self.head_dim
        parts = equal_parts(flat(fields).astype(self.dtype), self.tokens)
        t = self._by_token(parts, K, "tokens")
        for block in range(self.blocks):
            s = layer_norm(mixed(t) + t, self.dtype, f"block_{block}_mixed")
            hidden = self._by_token(s, self.expansion * K, f"block_{block}_hidden")
            v = self._by_token(nn.gelu(hidden), K, f"block_{block}_forward")
            t = layer_norm(v + s, self.dtype, f"block_{block}_forwarded")
        return dense(self.width, self.dtype, name="output")(jnp.mean(t, axis=1))

    def _by_token(self, t: Float[Array, "B T K"], size: int, name: str) -> Float[Array, "B T _"]:
        """t_i W_i + b_i, of each token its own."""
        T, K = t.shape[1:]
        exact = at_least_float32(self.dtype)
        init = nn.initializers.glorot_uniform(batch_axis=0)
        W = self.param(f"{name}_kernel", init, (T, K, size), exact).astype(self.dtype)
        b = self.param(f"{name}_bias", nn.initializers.zeros, (T, size), exact).astype(self.dtype)
        return jnp.einsum("btk,tkn->btn", t, W) + b[None]


def mixed(t: Float[Array, "B T K"]) -> Float[Array, "B T K"]:
    """Token h of the result is head h of all tokens, in their order; there are T heads."""
    B, T, K = t.shape
    return t.reshape(B, T, T, K // T).swapaxes(1, 2).reshape(B, T, K)
