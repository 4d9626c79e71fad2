"""UniFormer, "Efficient and Unified Model-Centric Scaling" (Chen et al. 2026, arXiv 2606.27058).

The fields are cut into q equal parts, or into the groups that the schema names, each a token by a
SwiGLU layer of its own; the items of each history are tokens too, and the tasks, which are learned.
RMS is RMSNorm, CA and SA are attention over others and over one another, FFN_i is a SwiGLU layer of
token i's own, on RMS(x). A layer of the feature space, with a, b = the tokens at first:

    y_s = CA(RMS(a), RMS(S_s)) + a;   h_s = FFN_s(y_s) + y_s     for each history s
    h   = sum over s of w_s h_s
    x   = [h, b];   x = SA(RMS(x)) + x;   f_i = FFN_i(x_i) + x_i;   [a, b] = f, cut in halves

with w a learned softmax; without histories h = a. A layer of the task space, from F = RMS(f):

    H = CA(RMS(T), F) + T;   H = SA(RMS(H)) + H;   T_i = FFN_i(H_i) + H_i

A task's logit is tower_t(T_t). Every layer reads the same keys and values of a history (S_kv = 1,
L_kv = 1 in the paper). In the paper FFN reads x itself, and so squares its size in each layer:
inputs of 1e4 overflow. What the paper does for one request's candidates in scoring is left out.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import SHARED, History, Inputs, Outputs
from dtn_jax.models.architectures.trunk import Trunk
from dtn_jax.models.layers import at_least_float32
from dtn_jax.models.tokens import FFN, Attention, SwiGLU, learned, rms_norm
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float

ASKING = ("query", "out")  # keys and values are those of all layers


class UniFormer(Trunk):
    """No experts. A gate is a task's attention, in a layer, to the 2q tokens of the feature space:
    first those that have asked the histories."""

    tokens: int = option(8, "q, tokens into which the fields are cut", least=1, most=10_000)
    heads: int = option(2, "attention heads", least=1, most=1000)
    head_dim: int = option(16, "width of a head", least=1)
    feature_layers: int = option(3, "layers of the feature space", least=1, most=100)
    task_layers: int = option(1, "layers of the task space", least=1, most=100)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """Each task's logit, from its token."""
        K, dtype = self.heads * self.head_dim, self.dtype
        parts = self.parts(self.read(inputs, train), inputs.names, self.tokens)
        a = b = SwiGLU(K, dtype, name="tokens")(parts)
        histories = {}
        for name, history in sorted(inputs.histories.get(SHARED, {}).items()):
            project = SwiGLU(K, dtype, each=False, name=f"history_{name}")
            histories[name] = history._replace(items=project(history.items))
        for layer in range(self.feature_layers):
            block = FeatureLayer(self.heads, dtype, name=f"feature_{layer}")
            f = block(a, b, histories)
            a, b = jnp.split(f, 2, axis=1)
        F = rms_norm(f, dtype, "features")
        T, seen = learned(self, "tasks", len(self.tasks), F), {}
        for layer in range(self.task_layers):
            block = TaskLayer(self.heads, dtype, name=f"task_{layer}")
            T, seen[f"layer_{layer}"] = block(T, F)
        names = self.token_names(parts.shape[1])
        sources = [*(f"{name}, histories" for name in names), *names]
        return self.outputs(T, seen, sources, train)


class FeatureLayer(nn.Module):
    """f of the feature space, from a, which asks the histories, and b, which does not."""

    heads: int
    dtype: Any

    @nn.compact
    def __call__(
        self, a: Float[Array, "B q K"], b: Float[Array, "B q K"], histories: dict[str, History]
    ) -> Float[Array, "B q2 K"]:
        """Of each row."""
        h = a
        if histories:
            read = rms_norm(a, self.dtype, "asking")
            results = []
            for name, (items, present) in histories.items():
                kept = rms_norm(items, self.dtype, f"history_{name}")
                attend = Attention(self.heads, self.dtype, ASKING, name=f"attention_{name}")
                x = attend(read, kept, present[:, None])[0] + a
                results.append(FFN(self.dtype, each=False, name=f"ffn_{name}")(x) + x)
            exact = at_least_float32(self.dtype)
            w = nn.softmax(self.param("fusion", nn.initializers.zeros, (len(results),), exact))
            h = sum(w[i].astype(self.dtype) * x for i, x in enumerate(results))
        return refined(jnp.concatenate([h, b], axis=1), self.heads, self.dtype)


class TaskLayer(nn.Module):
    """The tasks' tokens after one layer over F, and what they attended to."""

    heads: int
    dtype: Any

    @nn.compact
    def __call__(
        self, T: Float[Array, "B T K"], F: Float[Array, "B n K"]
    ) -> tuple[Float[Array, "B T K"], Float[Array, "B T n"]]:
        """Of each row."""
        attend = Attention(self.heads, self.dtype, ASKING, name="features")
        read, weights = attend(rms_norm(T, self.dtype, "asking"), F)
        return refined(read + T, self.heads, self.dtype), weights


def refined(x: Float[Array, "B n K"], heads: int, dtype: Any) -> Float[Array, "B n K"]:
    """x = SA(RMS(x)) + x, then FFN_i(x_i) + x_i; inside of a module."""
    read = rms_norm(x, dtype, "self")
    x = Attention(heads, dtype, name="self_attention")(read, read)[0] + x
    return FFN(dtype, name="ffn")(x) + x
