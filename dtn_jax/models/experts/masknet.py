"""MaskNet, "MaskNet: Introducing Feature-Wise Multiplication to CTR Ranking Models" (Wang 2021).

As in DTN, the embeddings themselves are not layer-normalised (`model.normalisation` does that),
and the blocks feed relu layers that end at the expert's width.

Letters: B batch, F fields, D embedding width, H expert width, K the width that a block masks;
x is the flat input of width W = F*D.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.layers import dense, flat, hidden_layers, layer_norm, two_layers
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float

KINDS = ("parallel", "serial")


class MaskBlock(nn.Module):
    """m = relu(x A_1 + a_1) A_2 + a_2;  o = relu(LN((masked * m) W + w)).

    The mask is always made from the embeddings x; `masked` is what it multiplies.
    """

    width: int
    mask_hidden: int
    dtype: Any

    @nn.compact
    def __call__(
        self, masked: Float[Array, "B K"], x: Float[Array, "B W"]
    ) -> Float[Array, "B block"]:
        """o, one row for each of `masked`."""
        mask = two_layers(x, self.mask_hidden, masked.shape[-1], self.dtype, "mask")
        hidden = dense(self.width, self.dtype, name="hidden")(masked * mask)
        return nn.relu(layer_norm(hidden, self.dtype, "norm", epsilon=1e-12))


class MaskNet(nn.Module):
    """Parallel: f = relu layers of [o_1, ..., o_n], every block masking x.

    Serial: f = relu layers of o_n, block 1 masking x and block k the output of block k-1.
    """

    width: int
    kind: str = option("parallel", "how the blocks are put together", choices=KINDS)
    blocks: int = option(2, "mask blocks", least=1, most=100)
    block_dim: int = option(128, "output width of a block", least=1)
    mask_hidden: int = option(256, "width of the mask's hidden ('aggregation') layer", least=1)
    hidden: tuple[int, ...] = option(
        (64,), "hidden widths after the blocks, before the layer of width H"
    )
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row; `codewords` are not read."""
        x = flat(fields).astype(self.dtype)
        blocks = [
            MaskBlock(self.block_dim, self.mask_hidden, self.dtype, name=f"block_{k}")
            for k in range(self.blocks)
        ]
        if self.kind == "parallel":
            o = jnp.concatenate([block(x, x) for block in blocks], axis=-1)
        else:
            o = x
            for block in blocks:
                o = block(o, x)
        h = hidden_layers(o, self.hidden, self.dtype, 0.0, train)
        return nn.relu(dense(self.width, self.dtype, name="output")(h))
