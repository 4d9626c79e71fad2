"""MGDA, "Multi-Task Learning as Multi-Objective Optimization" (Sener & Koltun 2018)."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from dtn_jax.balancing.balancer import GradientBalancer
from dtn_jax.balancing.solvers import on_simplex, scaled
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class MGDA(GradientBalancer):
    """The shortest convex combination of the tasks' gradients, which hurts no task.

        w = argmin of |Σ_t w_t g_t|²  over  w >= 0, Σ w = 1     (equation 3);   c = T w

    T times, so that it compares with the plain sum; T counts the tasks with a gradient. The step is
    no longer than T times the shortest gradient: it shrinks where one is tiny. This is the
    method's own; the authors' code can divide each gradient by its length or loss first.
    """

    def coefficients(self, gram: Float[Array, "T T"], losses, state, key) -> Float[Array, " T"]:
        G = scaled(gram)
        has = jnp.diag(G) > 0
        return has.sum() * on_simplex(lambda w: (2 * G @ w, 2 * G), has, G.dtype)
