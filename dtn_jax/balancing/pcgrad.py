"""PCGrad, "Gradient Surgery for Multi-Task Learning" (Yu et al. 2020): no task undoes another."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from dtn_jax.balancing.balancer import GradientBalancer
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class PCGrad(GradientBalancer):
    """Each task's gradient loses what opposes another one; then all are added (Algorithm 1).

        v = g_i;   for j ≠ i in random order, where <v, g_j> < 0:   v -= <v, g_j> / |g_j|² g_j

    v stays a sum a_1 g_1 + ... + a_T g_T, so `<v, g_j>` is a · gram[:, j], and only a is computed.
    """

    def coefficients(self, gram: Float[Array, "T T"], losses, state, key) -> Float[Array, " T"]:
        tasks = len(gram)

        def surgery(i, key):
            def project(a, j):
                product, length = jnp.sum(a * gram[:, j]), gram[j, j]
                against = (product < 0) & (j != i)
                return a.at[j].add(jnp.where(against, -product / length, 0)), None

            start = jnp.zeros(tasks, gram.dtype).at[i].set(1)
            return jax.lax.scan(project, start, jax.random.permutation(key, tasks))[0]

        each = jax.vmap(surgery)(jnp.arange(tasks), jax.random.split(key, tasks))
        return each.sum(axis=0)
