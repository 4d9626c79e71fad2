"""The multi-hash codebook expert, "MemoNet: Memorizing All Cross Features' Representations" (2023).

A pair of field values is hashed by N functions to N rows of a codebook; the rows together
stand for the pair, so that every pair has a memory without a table of all pairs. The codebook
is a table outside the model: the expert is handed the codewords.

Letters: B batch, F fields, D embedding width, S fields that form pairs, P = S(S-1)/2 pairs,
N hashes, C codebooks of the model, H expert width.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dtn_jax.errors import UserError
from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.layers import dense, flat, two_layers
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float
from dtn_jax.tables.addresses import pairs

SHRINKINGS = ("none", "sum", "attentive")


class HCNet(nn.Module):
    """q = [w_1, ..., w_N] R for each pair;  f = [flat(fields), flat(shrink(q))] W_o + b_o.

    Attentive restoring weighs the numbers of a pair's codewords by its fields i and j, attentive
    shrinking a pair by all S fields that form pairs, and then sums by field:

        [w_1, ..., w_N] * (relu([e_i, e_j] A_1) A_2);      q * (relu([e_1, ..., e_S] G_1) G_2)

    Attributes:
      codebook_rows, hashes, fields, seed: of the codebooks, which the table plan lays out.
      codebook: which of the C codebooks in `codewords[..., codebook, :]` is this expert's own.
      places: of the S fields that form pairs, among `fields`.
      shrinking: `none` keeps the P vectors; others give each field i the sum of q over the
        pairs that contain it.
    """

    width: int
    codebook: int = 0
    places: tuple[int, ...] = ()
    codebook_rows: int = option(10_000, "codewords in a codebook", least=1)
    hashes: int = option(2, "hash functions, all addressing the one codebook", least=1, most=100)
    restoring: str = option("linear", "by a pair's embeddings?", choices=("linear", "attentive"))
    shrinking: str = option(
        "none",
        "none: all pairs feed the output layer; sum, attentive: one vector a field",
        choices=SHRINKINGS,
    )
    hidden: int = option(64, "hidden width of attentive restoring and shrinking", least=1)
    fields: tuple[str, ...] = option(
        (), "names of the fields that form pairs; () takes every field of one slot", items=str
    )
    seed: int = option(0, "of the hash functions")
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row.

        Raises:
          ValueError: there are no codewords.
          UserError: it is attentive, and reads no fields but a vector.
        """
        if codewords is None:
            raise ValueError("an hcnet expert needs Inputs.codewords, got None")
        B, P, N, _, D = codewords.shape
        how = {"dtype": self.dtype, "use_bias": False}
        own = codewords[:, :, :, self.codebook].reshape(B, P, N * D).astype(self.dtype)
        if "attentive" in (self.restoring, self.shrinking):
            if fields.shape[1] <= max(self.places):
                raise UserError("an attentive hcnet expert reads fields: give it to a first level")
            e = fields[:, np.array(self.places)].astype(self.dtype)
        if self.restoring == "attentive":
            first, second = pairs(len(self.places))
            both = jnp.concatenate([e[:, first], e[:, second]], axis=-1)
            own = own * two_layers(both, self.hidden, N * D, **how, name="restoring")
        q = dense(D, self.dtype, name="restore", use_bias=False)(own)
        if self.shrinking == "attentive":
            weights = two_layers(flat(e), self.hidden, P, **how, name="shrinking")
            q = q * weights[:, :, None]
        if self.shrinking != "none":
            q = sum_by_field(q)
        x = jnp.concatenate([flat(fields).astype(self.dtype), flat(q)], axis=-1)
        return dense(self.width, self.dtype, name="output")(x)


def sum_by_field(q: Float[Array, "B P D"]) -> Float[Array, "B S D"]:
    """g_i = sum of q over the S-1 pairs that contain field i."""
    S = (1 + math.isqrt(1 + 8 * q.shape[1])) // 2
    first, second = pairs(S)
    containing = np.stack([np.flatnonzero((first == i) | (second == i)) for i in range(S)])
    return jnp.sum(q[:, containing], axis=2)
