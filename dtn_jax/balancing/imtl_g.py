"""IMTL-G, "Towards Impartial Multi-task Learning" (Liu et al. 2021), of gradients."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from dtn_jax.balancing.balancer import GradientBalancer
from dtn_jax.shapes import Array, Float

SMALLEST = 1e-2  # of Σ v, beside Σ |v|


@dataclasses.dataclass(frozen=True)
class IMTLG(GradientBalancer):
    """The combination whose projections on all tasks' gradients are equal. Equation 5:

        G v = |g|,   c = T v / Σ v        with |g|_t the length of g_t

    so that Σ_t c_t g_t has one product with every g_t / |g_t|; T counts the tasks with a gradient.
    The paper has a sum of 1. Either way the coefficients of the longer gradients fall as one
    becomes tiny, and the step shrinks: this is the method's own, in its published code too.
    Weights may be negative. Where Σ v is below 1e-2 Σ |v|, that combination would be a hundred
    times as long as the plain sum, or against every task: c is then 1, which the paper does not
    have.
    """

    def coefficients(self, gram: Float[Array, "T T"], losses, state, key) -> Float[Array, " T"]:
        lengths = jnp.sqrt(jnp.diag(gram))
        v = jnp.linalg.pinv(gram, rtol=1e-6, hermitian=True) @ lengths
        total = v.sum()
        there = total > SMALLEST * jnp.abs(v).sum()
        return jnp.where(there, (lengths > 0).sum() * v / jnp.where(there, total, 1), 1)
