"""What models of tokens are built of: layers of each token's own, mixing, and attention.

Letters: B batch, T tokens, K a token's width, Q tokens that ask, S tokens that are asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.errors import UserError
from dtn_jax.models.layers import at_least_float32, dense, layer_norm
from dtn_jax.shapes import Array, Bool, Float

SMALL = nn.initializers.normal(0.02)  # of learned tokens


class PerToken(nn.Module):
    """t_i W_i + b_i: a linear layer of each token's own."""

    size: int
    dtype: Any

    @nn.compact
    def __call__(self, t: Float[Array, "B T K"]) -> Float[Array, "B T size"]:
        """Of each row."""
        T, K = t.shape[1:]
        exact = at_least_float32(self.dtype)
        init = nn.initializers.glorot_uniform(batch_axis=0)
        W = self.param("kernel", init, (T, K, self.size), exact).astype(self.dtype)
        b = self.param("bias", nn.initializers.zeros, (T, self.size), exact).astype(self.dtype)
        return jnp.einsum("btk,tkn->btn", t.astype(self.dtype), W) + b[None]


class PerTokenFFN(nn.Module):
    """gelu(t_i W_i + b_i) V_i + c_i: two layers of each token's own, the hidden one wider."""

    expansion: int
    dtype: Any

    @nn.compact
    def __call__(self, t: Float[Array, "B T K"]) -> Float[Array, "B T K"]:
        """Of each row."""
        K = t.shape[-1]
        hidden = nn.gelu(PerToken(self.expansion * K, self.dtype, name="hidden")(t))
        return PerToken(K, self.dtype, name="forward")(hidden)


class RankMixerBlock(nn.Module):
    """s = LN(mix(t) + t);  t = LN(FFN(s) + s), "RankMixer" (2507.15551), section 3.3; `mixed`."""

    expansion: int
    dtype: Any

    @nn.compact
    def __call__(self, t: Float[Array, "B T K"]) -> Float[Array, "B T K"]:
        """Of each row; T divides K."""
        s = layer_norm(mixed(t) + t, self.dtype, "mixed")
        v = PerTokenFFN(self.expansion, self.dtype, name="tokens")(s)
        return layer_norm(v + s, self.dtype, "forwarded")


def mixed(t: Float[Array, "B T K"]) -> Float[Array, "B T K"]:
    """Token h of the result is head h of all tokens, in their order; there are T heads."""
    B, T, K = t.shape
    return t.reshape(B, T, T, K // T).swapaxes(1, 2).reshape(B, T, K)


def attention(
    q: Float[Array, "B Q K"],
    k: Float[Array, "B S K"],
    v: Float[Array, "B S K"],
    heads: int,
    present: Bool[Array, "B Q1 S"] | None = None,
) -> tuple[Float[Array, "B Q K"], Float[Array, "B Q S"]]:
    """Scaled dot products (Vaswani et al. 2017) over what is present, for all that asks (Q1 = 1) or
    for each, and the heads' mean weights.

    Where nothing is present the result is 0. The heads divide K.
    """
    B, Q, K = q.shape
    split = [x.reshape(B, -1, heads, K // heads) for x in (q, k, v)]
    scores = jnp.einsum("bqhd,bshd->bhqs", *split[:2]).astype(at_least_float32(q.dtype))
    scores = scores / (K // heads) ** 0.5
    weights = nn.softmax(scores) if present is None else masked_softmax(scores, present[:, None])
    mixed_ = jnp.einsum("bhqs,bshd->bqhd", weights.astype(q.dtype), split[2])
    return mixed_.reshape(B, Q, K), jnp.mean(weights, axis=1)


def masked_softmax(
    scores: Float[Array, "*B S"], present: Bool[Array, "... S"]
) -> Float[Array, "*B S"]:
    """Over the places that are present; zeros where none is."""
    least = jnp.finfo(scores.dtype).min
    return jnp.where(present, nn.softmax(jnp.where(present, scores, least)), 0)


class Attention(nn.Module):
    """[heads of softmax(q Q (x K)^T / sqrt(d)) x V] O, and the heads' mean weights.

    Of Q, K, V and O those are learned that `matrices` names, others are the identity. With `each`
    they are of each token's own, and have a bias.

    Attributes:
      width: of q Q, x K and x V, a multiple of the heads; 0 leaves it as it is.
      scaled: whether products are divided by sqrt(d).
    """

    heads: int
    dtype: Any
    matrices: tuple[str, ...] = ("query", "key", "value", "out")
    each: bool = False
    width: int = 0
    scaled: bool = True

    @nn.compact
    def __call__(
        self,
        q: Float[Array, "B Q K"],
        x: Float[Array, "B S K"],
        present: Bool[Array, "B Q1 S"] | None = None,
    ) -> tuple[Float[Array, "B Q K2"], Float[Array, "B Q S"]]:
        """Of each row.

        Raises:
          UserError: the heads do not divide the width.
        """
        K = q.shape[-1]
        width = self.width or K
        if width % self.heads:
            raise UserError(f"{self.heads} heads do not divide the embedding's width {width}")

        def projected(y: Array, name: str, size: int) -> Array:
            if name not in self.matrices:
                return y
            if self.each:
                return PerToken(size, self.dtype, name=name)(y)
            return dense(size, self.dtype, name=name, use_bias=False)(y)

        q, k, v = (
            projected(y, name, width) for y, name in ((q, "query"), (x, "key"), (x, "value"))
        )
        q = q if self.scaled else q * (width // self.heads) ** 0.5
        read, weights = attention(q, k, v, self.heads, present)
        return projected(read, "out", K), weights


def learned(
    module: nn.Module,
    name: str,
    count: int,
    like: Float[Array, "B n K"],
    init: Callable[..., Array] = SMALL,
) -> Float[Array, "B count K"]:
    """A parameter of a module: `count` tokens, the same in every row, as wide as others."""
    shape = (1, count, like.shape[-1])
    tokens = module.param(name, init, shape, at_least_float32(like.dtype)).astype(like.dtype)
    return jnp.broadcast_to(tokens, (like.shape[0], *tokens.shape[1:]))


def linear(size: int, dtype: Any, each: bool, name: str) -> nn.Module:
    """x W + b, for `each` token with W and b of its own or for all with the same."""
    return PerToken(size, dtype, name=name) if each else dense(size, dtype, name=name)


class SwiGLU(nn.Module):
    """silu(x W) * (x V), `each` token with matrices of its own or all with the same."""

    size: int
    dtype: Any
    each: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B n K"]) -> Float[Array, "B n size"]:
        """Of each row."""
        gate, value = (linear(self.size, self.dtype, self.each, n)(x) for n in ("gate", "value"))
        return nn.silu(gate) * value


class FFN(nn.Module):
    """SwiGLU of twice the width on RMS(x), then a linear layer back."""

    dtype: Any
    each: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "B n K"]) -> Float[Array, "B n K"]:
        """Of each row."""
        K = x.shape[-1]
        x = rms_norm(x, self.dtype, "norm")
        hidden = SwiGLU(2 * K, self.dtype, self.each, name="hidden")(x)
        return linear(K, self.dtype, self.each, "forward")(hidden)


def rms_norm(x: Float[Array, "B n K"], dtype: Any, name: str) -> Float[Array, "B n K"]:
    """x over the root of its mean square along the last axis, scaled (Zhang & Sennrich 2019)."""
    exact = at_least_float32(dtype)
    return nn.RMSNorm(dtype=exact, param_dtype=exact, name=name)(x).astype(dtype)
