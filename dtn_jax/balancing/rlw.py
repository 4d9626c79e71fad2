"""RLW, "Reasonable Effectiveness of Random Weighting" (Lin et al. 2022): random loss weights."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from dtn_jax.balancing.balancer import Balancer
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class RLW(Balancer):
    """New weights at every step, T softmax(z) with z_t normal, of the sum T.

    The paper's weights add up to 1. What the method costs is nothing, and what it reaches is a
    baseline for those that cost more.
    """

    def weights(self, learned, losses, state, key: Array, tasks) -> Float[Array, " T"]:
        z = jax.random.normal(key, (len(tasks),), jnp.result_type(float))
        return len(tasks) * jax.nn.softmax(z)
