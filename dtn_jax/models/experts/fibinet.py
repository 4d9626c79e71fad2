"""FiBiNET, "Combining Feature Importance and Bilinear feature Interaction" (Huang et al. 2019).

Letters: B batch, F fields, D embedding width, P = F(F-1)/2 pairs, H expert width; x is the flat
input of width F*D.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.layers import as_fields, at_least_float32, dense, flat, hidden_layers
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float
from dtn_jax.tables.addresses import pairs

KINDS = ("interaction", "each", "all")


class FiBiNET(nn.Module):
    """z_i = mean of e_i;  a = relu(relu(z S_1) S_2);  v_i = a_i e_i  (SENET, equations 2 to 4);
    p_ij = (e_i W) * e_j,  q_ij = (v_i W') * v_j  for i < j  (bilinear, 5 to 7);
    f = x W_1 + h W_2 + b  with h the last of the hidden relu layers on [p, q].

    Both bilinear layers have a matrix for each pair (`interaction`), for each field i (`each`) or
    one (`all`). The paper has three hidden layers of 400 units.
    """

    width: int
    bilinear: str = option("all", "whose matrices: of each pair, each field, or all", choices=KINDS)
    reduction: int = option(3, "fields per unit of SENET's hidden layer", least=1)
    hidden: tuple[int, ...] = option((128,), "hidden widths before the output layer of width H")
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row; `codewords` are not read."""
        e = as_fields(fields).astype(self.dtype)
        F = e.shape[1]
        squeezed = max(1, F // self.reduction)
        a = jnp.mean(e, axis=-1)
        for name, size in (("squeeze", squeezed), ("excite", F)):
            a = nn.relu(dense(size, self.dtype, name=name, use_bias=False)(a))
        crossed = [self._crossed(e, "pairs"), self._crossed(e * a[:, :, None], "excited_pairs")]
        h = jnp.concatenate(crossed, axis=-1)
        h = hidden_layers(h, self.hidden, self.dtype, self.dropout, train)
        linear = dense(self.width, self.dtype, name="linear")(flat(fields).astype(self.dtype))
        return linear + dense(self.width, self.dtype, name="output", use_bias=False)(h)

    def _crossed(self, e: Float[Array, "B F D"], name: str) -> Float[Array, "B _"]:
        """(e_i W) * e_j of all pairs, flat."""
        F, D = e.shape[1:]
        first, second = pairs(F)
        count = {"interaction": len(first), "each": F - 1, "all": 1}[self.bilinear]
        init = nn.initializers.glorot_uniform(batch_axis=0)
        W = self.param(name, init, (count, D, D), at_least_float32(self.dtype)).astype(self.dtype)
        if self.bilinear == "interaction":
            left = jnp.einsum("bpd,pdk->bpk", e[:, first], W)
        else:
            W = jnp.broadcast_to(W, (F - 1, D, D))  # the last field is never the first of a pair
            left = jnp.einsum("bfd,fdk->bfk", e[:, :-1], W)[:, first]
        return flat(left * e[:, second])
