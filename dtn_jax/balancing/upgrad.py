"""UPGrad, "Jacobian Descent for Multi-Objective Optimization" (Quinton & Rey 2024)."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from dtn_jax.balancing.balancer import GradientBalancer
from dtn_jax.balancing.solvers import above, scaled
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class UPGrad(GradientBalancer):
    """Each task's gradient, moved as little as possible until it opposes none; then all are added.

        v_t = argmin of v^T G v  over  v >= e_t;   c = Σ_t v_t        (proposition 1)

    with e_t the t-th unit vector: Σ_s v_ts g_s is the projection of g_t onto the cone of directions
    that no task is against. The paper has the mean of the projections; their sum compares with the
    plain sum.
    """

    def coefficients(self, gram: Float[Array, "T T"], losses, state, key) -> Float[Array, " T"]:
        G = scaled(gram)
        has, lengths = jnp.diag(G) > 0, jnp.sqrt(jnp.diag(G))
        units = jnp.eye(len(G), dtype=G.dtype)
        # Of gradients of length 1: their lengths are no part of the problem.
        each = jnp.where(has, lengths, 1)
        cosines = jnp.where(units > 0, 1, G / jnp.outer(each, each))
        moved = jax.vmap(above, in_axes=(None, 0))(cosines, units)
        return jnp.where(has, lengths @ moved / each, 1)
