"""Factorization machines, "Factorization Machines" (Rendle 2010), as an expert.

Letters: B batch, F fields, D embedding width, H expert width; x is the flat input of width F*D.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.layers import as_fields, at_least_float32, dense, flat
from dtn_jax.shapes import Array, Float


class FM(nn.Module):
    """s = sum over i < j of e_i * e_j  `[D]`;  f = x W + s V + b.

    The sum of s over D is FM's term of second order (equation 1); here each of the H outputs weighs
    the D factors of its own. Linear weights are of the embeddings, where Rendle's are of the ids.
    """

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row; `codewords` are not read."""
        x = flat(fields).astype(self.dtype)
        # A difference of squares, of which bfloat16 would keep few digits.
        exact = as_fields(fields).astype(at_least_float32(self.dtype))
        s = sum_of_products(exact).astype(self.dtype)
        first = dense(self.width, self.dtype, name="first_order")(x)
        return first + dense(self.width, self.dtype, name="second_order", use_bias=False)(s)


def sum_of_products(e: Float[Array, "B F D"]) -> Float[Array, "B D"]:
    """The sum over i < j of e_i * e_j, in time linear in F (Rendle 2010, Lemma 3.1)."""
    return (jnp.sum(e, axis=1) ** 2 - jnp.sum(e**2, axis=1)) / 2
