"""GradVac, "Gradient Vaccine: Investigating and Improving Multi-task Optimization in Massively
Multilingual Models" (Wang et al. 2021)."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from dtn_jax.balancing.balancer import GradientBalancer, Seen
from dtn_jax.options import option
from dtn_jax.schema import Task
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class GradVac(GradientBalancer):
    """As PCGrad, but two gradients are turned to the cosine that they usually have. Algorithm 1:

        v = g_i;   for j ≠ i in random order, where φ = cos(v, g_j) < ρ_ij:
            v += |v| (ρ sqrt(1 - φ²) - φ sqrt(1 - ρ²)) / (|g_j| sqrt(1 - ρ²)) g_j
        ρ_ij <- (1 - beta) ρ_ij + beta cos(g_i, g_j)

    ρ begins at 0, which is PCGrad. It stays as it is where a task has no gradient.
    """

    beta: float = option(0.01, "how fast the usual cosines follow those of a step", above=0, most=1)

    def init_state(self, tasks: tuple[Task, ...]) -> Any:
        return {"cosines": jnp.zeros((len(tasks), len(tasks)))}

    def coefficients(
        self, gram: Float[Array, "T T"], losses, state: Any, key: Array
    ) -> Float[Array, " T"]:
        tasks, norms = len(gram), jnp.sqrt(jnp.diag(gram))

        def vaccinated(i, key):
            def turn(a, j):
                length = jnp.sqrt(jnp.maximum(a @ gram @ a, 0))
                both = length * norms[j]
                phi = jnp.clip(a @ gram[:, j] / jnp.where(both > 0, both, 1), -1, 1)
                rho = state["cosines"][i, j].astype(gram.dtype)
                rest = jnp.sqrt(jnp.maximum(1 - rho**2, 1e-6))  # of cosines near 1
                by = length * (rho * jnp.sqrt(1 - phi**2) - phi * rest)
                turns = (phi < rho) & (j != i) & (both > 0)
                return a.at[j].add(jnp.where(turns, by / (norms[j] * rest), 0)), None

            start = jnp.zeros(tasks, gram.dtype).at[i].set(1)
            return jax.lax.scan(turn, start, jax.random.permutation(key, tasks))[0]

        each = jax.vmap(vaccinated)(jnp.arange(tasks), jax.random.split(key, tasks))
        return each.sum(axis=0)

    def update(self, state: Any, seen: Seen) -> Any:
        both = jnp.outer(seen.norms, seen.norms)
        cosines = seen.gram / jnp.where(both > 0, both, 1)
        moved = (1 - self.beta) * state["cosines"] + self.beta * cosines
        return {"cosines": jnp.where(both > 0, moved, state["cosines"])}
