"""GLS, "MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy for Multi-Task
Learning" (Chennupati et al. 2019)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from dtn_jax.balancing.balancer import Balancer
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class GLS(Balancer):
    """Descends the geometric mean of the losses. T times that, its weights are

        w_t = (Π_s L_s)^(1/n) T / (n L_t)

    of the n losses that are not 0; so it compares with the plain sum. Whatever unit a loss is in,
    its task pulls the same.
    """

    positive: ClassVar[bool] = True
    reads_losses: ClassVar[bool] = True

    def weights(self, learned, losses: Array, state, key, tasks) -> Float[Array, " T"]:
        has = losses != 0  # a loss below 0 has no geometric mean: NaN
        n = jnp.maximum(has.sum(), 1)
        L = jnp.where(has, losses, 1)
        return jnp.where(has, jnp.exp(jnp.log(L).sum() / n) * len(tasks) / (n * L), 0)
