"""Nash-MTL, "Multi-Task Learning as a Bargaining Game" (Navon et al. 2022)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from dtn_jax.balancing.balancer import Balancer
from dtn_jax.balancing.solvers import fair
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class NashMTL(Balancer):
    """The tasks bargain for the direction: the Nash solution has Σ_t c_t g_t with

        G c = 1 / c        (claim 3.1)

    solved exactly at each step, where the authors' code takes some steps of an approximation. c is
    scaled to a sum of T, the tasks with a gradient, so that it compares with the plain sum.
    """

    reads_gradients: ClassVar[bool] = True

    def coefficients(self, gram: Float[Array, "T T"], losses, state, key) -> Float[Array, " T"]:
        c = fair(gram, 1.0)
        return (c > 0).sum() * c / jnp.maximum(c.sum(), 1e-30)
