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

        v = g_i;   for j ≠ i in random order, with φ = cos(v, g_j):
            where φ < ρ_ij,  v += |v| (ρ sqrt(1 - φ²) - φ sqrt(1 - ρ²)) / (|g_j| sqrt(1 - ρ²)) g_j
            ρ_ij <- (1 - beta) ρ_ij + beta φ

    ρ begins at 0, which is PCGrad. It stays as it is where a task has no gradient.
    """

    beta: float = option(0.01, "how fast the usual cosines follow those of a step", above=0, most=1)

    def init_state(self, tasks: tuple[Task, ...]) -> Any:
        return {"cosines": jnp.zeros((len(tasks), len(tasks)))}

    def coefficients(
        self, gram: Float[Array, "T T"], losses, state: Any, key: Array
    ) -> Float[Array, " T"]:
        return self._vaccinated(gram, state, key)[0].sum(axis=0)

    def update(self, state: Any, seen: Seen) -> Any:
        _, cosines = self._vaccinated(seen.gram, state, seen.key)
        moved = (1 - self.beta) * state["cosines"] + self.beta * cosines
        both = jnp.outer(seen.norms, seen.norms) > 0
        return {"cosines": jnp.where(both, moved, state["cosines"])}

    def _vaccinated(
        self, gram: Float[Array, "T T"], state: Any, key: Array
    ) -> tuple[Float[Array, "T T"], Float[Array, "T T"]]:
        """Each v at the end, by what it is a sum of, and the φ that it met."""
        tasks, norms = len(gram), jnp.sqrt(jnp.diag(gram))

        def one(i, key):
            def turn(a, j):
                length = jnp.sqrt(jnp.maximum(a @ gram @ a, 0))
                both = length * norms[j]
                phi = jnp.clip(a @ gram[:, j] / jnp.where(both > 0, both, 1), -1, 1)
                rho = state["cosines"][i, j].astype(gram.dtype)
                rest = jnp.sqrt(jnp.maximum(1 - rho**2, 1e-6))  # of cosines near 1
                by = length * (rho * jnp.sqrt(1 - phi**2) - phi * rest)
                turns = (phi < rho) & (j != i) & (both > 0)
                return a.at[j].add(jnp.where(turns, by / (norms[j] * rest), 0)), phi

            order = jax.random.permutation(key, tasks)
            a, phi = jax.lax.scan(turn, jnp.zeros(tasks, gram.dtype).at[i].set(1), order)
            return a, jnp.zeros_like(phi).at[order].set(phi)

        return jax.vmap(one)(jnp.arange(tasks), jax.random.split(key, tasks))
