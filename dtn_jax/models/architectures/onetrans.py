"""OneTrans, "Unified Feature Interaction and Sequence Modeling with One Transformer" (Zhang et al.
2025, arXiv 2510.26104).

One causal transformer reads S-tokens, the items of all histories, and NS-tokens, which the fields
become. In a block,

    Z = MHA(RMS(X)) + X;   X = W_2 gelu(RMS(Z) W_1) + Z

with Q, K, V, W_1 and W_2 the same for all S-tokens and of each NS-token's own. A token attends to
itself and to those before it; NS-tokens come last. In each block fewer S-tokens, the newest, ask
and go on (the pyramid), until after the last one NS-tokens alone are left.

S-tokens are projections of the items, by history, with a learned token between two histories, the
newest item last. NS-tokens are one layer of all fields, cut (Auto-Split), or layers of the groups
that the schema names. The paper's fusion by time is left out, since histories here have no common
clock, and so is what it does for one request's candidates in scoring. Without time it puts
histories in the order of how much they say, purchases first; here it is that of their names. It
does not say how the tasks read the tokens: here a task's logit is tower_t of all NS-tokens, side by
side.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import SHARED, Inputs, Outputs
from dtn_jax.models.architectures.trunk import Trunk
from dtn_jax.models.layers import dense, flat
from dtn_jax.models.tokens import PerToken, attention, learned, rms_norm
from dtn_jax.options import option
from dtn_jax.shapes import Array, Bool, Float


class OneTrans(Trunk):
    """No experts. A gate is the NS-tokens' mean attention in a block, histories taken together."""

    tokens: int = option(8, "NS-tokens, where the schema names no groups", least=1, most=10_000)
    heads: int = option(4, "attention heads", least=1, most=1000)
    head_dim: int = option(16, "width of a head", least=1)
    blocks: int = option(2, "blocks; S-tokens become fewer from one to the next", least=1, most=100)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from the NS-tokens."""
        fields, K = self.read(inputs, train), self.heads * self.head_dim
        if self.fields:
            N = PerToken(K, self.dtype, name="tokens")(self.parts(fields, inputs.names, 0))
        else:
            N = dense(self.tokens * K, self.dtype, name="tokens")(flat(fields))
            N = N.reshape(-1, self.tokens, K)
        S, present = self._sequence(inputs, N)
        X, count = jnp.concatenate([S, N], axis=1), N.shape[1]
        present = jnp.pad(present, ((0, 0), (0, count)), constant_values=True)
        names, gates = self.token_names(count), {}
        for block in range(self.blocks):
            kept = count + S.shape[1] * (self.blocks - 1 - block) // self.blocks
            name = f"block_{block}"
            X, seen = MixedBlock(self.heads, count, self.dtype, name=name)(X, present, kept)
            present = present[:, -kept:]
            gates[f"{SHARED}/{name}"] = {n: seen[:, i - count] for i, n in enumerate(names)}
            if S.shape[1]:
                items = jnp.sum(seen[:, :-count], axis=1)
                gates[f"{SHARED}/{name}"]["token/histories"] = items
        z = flat(X)
        logits = self.towers({task.name: z for task in self.tasks}, train)
        return Outputs(logits=logits, intermediates={"experts": {}, "gates": gates})

    def _sequence(
        self, inputs: Inputs, like: Float[Array, "B n K"]
    ) -> tuple[Float[Array, "B S K"], Bool[Array, "B S"]]:
        """The S-tokens, those of padding before all others, and which are none of padding."""
        tokens, present = [like[:, :0]], [jnp.ones((like.shape[0], 0), bool)]
        for name, history in sorted(inputs.histories.get(SHARED, {}).items()):
            if len(tokens) > 1:
                tokens.append(learned(self, f"before_{name}", 1, like))
                present.append(jnp.ones((like.shape[0], 1), bool))
            project = dense(like.shape[-1], self.dtype, name=f"history_{name}")
            tokens.append(project(history.items.astype(self.dtype)))
            present.append(history.present)
        S, there = jnp.concatenate(tokens, axis=1), jnp.concatenate(present, axis=1)
        order = jnp.argsort(there, axis=1, stable=True)
        S = jnp.take_along_axis(S, order[:, :, None], axis=1)
        return S, jnp.take_along_axis(there, order, axis=1)


class MixedBlock(nn.Module):
    """A block; the last `own` tokens have weights of their own."""

    heads: int
    own: int
    dtype: Any

    @nn.compact
    def __call__(
        self, X: Float[Array, "B n K"], present: Bool[Array, "B n"], kept: int
    ) -> tuple[Float[Array, "B kept K"], Float[Array, "B n"]]:
        """The last `kept` tokens of the result, and what the own ones attended to, in the mean."""
        (_, n, K), R = X.shape, rms_norm(X, self.dtype, "asking")
        q = self._mixed(R[:, -kept:], K, "query")
        k, v = self._mixed(R, K, "key"), self._mixed(R, K, "value")
        before = jnp.arange(n)[None] <= jnp.arange(n - kept, n)[:, None]
        read, seen = attention(q, k, v, self.heads, present[:, None] & before[None])
        Z = read + X[:, -kept:]
        h = nn.gelu(self._mixed(rms_norm(Z, self.dtype, "forwarding"), 2 * K, "hidden"))
        return self._mixed(h, K, "forward") + Z, jnp.mean(seen[:, -self.own :], axis=1)

    def _mixed(self, x: Float[Array, "B n K"], size: int, name: str) -> Float[Array, "B n size"]:
        own = PerToken(size, self.dtype, name=f"{name}_own")(x[:, -self.own :])
        if x.shape[1] == self.own:
            return own
        shared = dense(size, self.dtype, name=f"{name}_shared")(x[:, : -self.own])
        return jnp.concatenate([shared, own], axis=1)
