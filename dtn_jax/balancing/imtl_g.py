"""IMTL-G, "Towards Impartial Multi-task Learning" (Liu et al. 2021), of gradients."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from dtn_jax.balancing.balancer import Balancer
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class IMTLG(Balancer):
    """The combination whose projections on all tasks' gradients are equal (equation 5):

        G v = |g|,   c = T v / Σ v        with |g|_t the length of g_t

    so that Σ_t c_t g_t has one product with every g_t / |g_t|. Weights may be negative. Where Σ v
    is near 0 there is no such combination, and c is 1.
    """

    reads_gradients: ClassVar[bool] = True

    def coefficients(self, gram: Float[Array, "T T"], losses, state, key) -> Float[Array, " T"]:
        lengths = jnp.sqrt(jnp.diag(gram))
        v = jnp.linalg.pinv(gram, rtol=1e-6, hermitian=True) @ lengths
        total = v.sum()
        there = jnp.abs(total) > 1e-6 * jnp.abs(v).sum()
        return jnp.where(there, len(gram) * v / jnp.where(there, total, 1), 1)
