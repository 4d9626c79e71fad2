"""CAGrad, "Conflict-Averse Gradient Descent for Multi-task Learning" (Liu et al. 2021)."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from dtn_jax.balancing.balancer import GradientBalancer
from dtn_jax.balancing.solvers import on_simplex, ridge, scaled
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class CAGrad(GradientBalancer):
    """The direction d that helps the worst task most, within c |g_0| of the mean gradient g_0.

        w = argmin over the simplex of  g_w · g_0 + c |g_0| |g_w|,   g_w = Σ_t w_t g_t
        d = g_0 + c |g_0| g_w / |g_w|                                    (Algorithm 1)

    The step descends T d, T the tasks with a gradient, so that c = 0 is the plain sum.
    Gradients that agree are 1 + c times as long.
    """

    c: float = option(0.4, "how far from the mean gradient, in its length", least=0, below=1)

    def coefficients(self, gram: Float[Array, "T T"], losses, state, key) -> Float[Array, " T"]:
        G, least = scaled(gram), ridge(gram.dtype)
        has = jnp.diag(G) > 0
        mean = has.astype(G.dtype) / jnp.maximum(has.sum(), 1)
        toward = G @ mean
        radius = self.c * jnp.sqrt(jnp.maximum(mean @ toward, 0))

        def length(w):
            return jnp.sqrt(w @ G @ w + least**2)

        def curve(w):
            g, size = G @ w, length(w)
            bent = G / size - jnp.outer(g, g) / size**3
            return toward + radius * g / size, radius * bent + least * jnp.eye(
                len(w), dtype=G.dtype
            )

        w = on_simplex(curve, has, G.dtype)
        return jnp.where(has, has.sum() * (mean + radius * w / length(w)), 0)
