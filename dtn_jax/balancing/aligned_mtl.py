"""Aligned-MTL, "Independent Component Alignment for Multi-Task Learning" (Senushkin 2023)."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from dtn_jax.balancing.balancer import GradientBalancer
from dtn_jax.shapes import Array, Float

SMALLEST = 1e-6  # of an eigenvalue, beside the largest, that counts


@dataclasses.dataclass(frozen=True)
class AlignedMTL(GradientBalancer):
    """The gradients, turned as little as possible until they are orthogonal and of one length.

        G = V Λ V^T;   c = sqrt(λ_min) V Λ^(-1/2) V^T 1        (Algorithm 1)

    of the eigenvalues above 1e-6 of the largest; those below have no direction. The step has the
    scale of the smallest that counts, so that it shrinks where one gradient is tiny: the method's
    own.
    """

    def coefficients(self, gram: Float[Array, "T T"], losses, state, key) -> Float[Array, " T"]:
        values, V = jnp.linalg.eigh(gram)
        real = values > SMALLEST * jnp.maximum(values[-1], 1e-30)
        least = jnp.min(jnp.where(real, values, jnp.inf))
        turned = jnp.where(real, jnp.sqrt(least / jnp.where(real, values, 1)), 0)
        return V @ (turned * V.sum(axis=0))
