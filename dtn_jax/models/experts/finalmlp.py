"""FinalMLP, "FinalMLP: An Enhanced Two-Stream MLP Model for CTR Prediction" (Mao et al. 2023).

Letters: B batch, F fields, D embedding width, H expert width, K heads; x is the flat input of
width F*D.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.layers import at_least_float32, dense, equal_parts, flat, hidden_layers
from dtn_jax.options import option


class FinalMLP(nn.Module):
    """x_s = x * 2 sigmoid(a_s);  o_s = relu layers of x_s, for the streams s = 1, 2;
    f = o_1 W_1 + o_2 W_2 + b + sum over heads k of o_1k^T W_3k o_2k  (equations 6 to 10).

    The gates a_s are learned numbers, 0 at first; in the paper an MLP computes them from chosen
    fields, and from a learned vector, as here, where none are chosen. Head k of o_s is the k-th of
    K equal parts; zeros fill up the last.
    """

    width: int
    first: tuple[int, ...] = option((64, 64), "hidden widths of the first stream")
    second: tuple[int, ...] = option((64,), "hidden widths of the second stream")
    heads: int = option(8, "K, parts of the streams that the fusion pairs", least=1, most=10_000)
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row; `codewords` are not read."""
        exact = at_least_float32(self.dtype)
        x = flat(fields).astype(self.dtype)
        streams = []
        for name, widths in (("first", self.first), ("second", self.second)):
            gate = self.param(f"{name}_gate", nn.initializers.zeros, x.shape[-1:], exact)
            o = x * (2 * nn.sigmoid(gate)).astype(self.dtype)[None]
            streams.append(hidden_layers(o, widths, self.dtype, self.dropout, train, name=name))
        parts = [equal_parts(o, self.heads) for o in streams]
        shape = (self.heads, parts[0].shape[-1], parts[1].shape[-1], self.width)
        init = nn.initializers.glorot_normal(in_axis=(1, 2), out_axis=3, batch_axis=0)
        W = self.param("fusion", init, shape, exact).astype(self.dtype)
        both = jnp.einsum("bki,bkj,kijh->bh", *parts, W)
        linear = dense(self.width, self.dtype, name="output")(jnp.concatenate(streams, axis=-1))
        return linear + both
