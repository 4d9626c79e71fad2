"""AFN, "Adaptive Factorization Network: Learning Adaptive-Order Feature Interactions" (Cheng 2020).

Letters: B batch, F fields, D embedding width, K logarithmic neurons, H expert width.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Codewords, Fields, Vectors
from dtn_jax.models.layers import as_fields, at_least_float32, dense, flat, hidden_layers
from dtn_jax.options import option

SMALLEST = 1e-5  # of |e|: the logarithm of less would drown all else
LARGEST = 20.0  # of a neuron's exponent, beyond which a float32 would soon overflow


class AFN(nn.Module):
    """y_k = exp(sum over i of w_ik log |e_i|), the product of the |e_i|^w_ik  (equation 6);
    f = relu(h W_o + b_o)  with h the last of the hidden relu layers on [y_1, ..., y_K].

    The orders w are learned. |e| is taken as at least 1e-5, and a neuron's exponent as at most 20.
    The paper's normalisation over the batch,
    before and after the neurons, is left out.
    """

    width: int
    neurons: int = option(16, "K, logarithmic neurons", least=1, most=10_000)
    hidden: tuple[int, ...] = option((128,), "hidden widths before the output layer of width H")
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fields: Fields, codewords: Codewords, train: bool) -> Vectors:
        """f of each row; `codewords` are not read."""
        e = as_fields(fields).astype(at_least_float32(self.dtype))
        logs = jnp.log(jnp.maximum(jnp.abs(e), SMALLEST))
        init = nn.initializers.normal(0.1)
        w = self.param("orders", init, (e.shape[1], self.neurons), e.dtype)
        exponents = jnp.einsum("bfd,fk->bkd", logs, w)
        y = flat(jnp.exp(jnp.minimum(exponents, LARGEST))).astype(self.dtype)
        h = hidden_layers(y, self.hidden, self.dtype, self.dropout, train)
        return nn.relu(dense(self.width, self.dtype, name="output")(h))
