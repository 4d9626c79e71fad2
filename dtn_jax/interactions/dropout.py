"""Dropout (Srivastava et al. 2014), drawn for the whole batch however it is split."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from dtn_jax import batch_axis


class Dropout(nn.Module):
    """Keeps each number with probability 1 - rate, scaled by 1 / (1 - rate); in training alone."""

    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, "B ..."], train: bool) -> Float[Array, "B ..."]:
        if not train or self.rate == 0:
            return x
        key = self.make_rng("dropout")
        keep = 1 - self.rate
        kept = batch_axis.draw(lambda shape: jax.random.bernoulli(key, keep, shape), x.shape)
        return jnp.where(kept, x / keep, 0)
