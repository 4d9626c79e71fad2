"""FairGrad, "Fair Resource Allocation in Multi-Task Learning" (Ban & Ji 2024)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from dtn_jax.balancing.balancer import Balancer
from dtn_jax.balancing.solvers import fair
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class FairGrad(Balancer):
    """alpha-fair shares of a step's progress: Σ_t c_t g_t with

        (G c)_t = c_t^(-1 / alpha)        (equation 6)

    alpha = 1 is proportional fairness (Nash-MTL); a larger one helps the worst task more. c is
    scaled to a sum of T, the tasks with a gradient, so that it compares with the plain sum.
    """

    reads_gradients: ClassVar[bool] = True
    alpha: float = option(2.0, "of the fairness: 1 proportional, large max-min", least=0.1, most=20)

    def coefficients(self, gram: Float[Array, "T T"], losses, state, key) -> Float[Array, " T"]:
        c = fair(gram, 1 / self.alpha)
        return (c > 0).sum() * c / jnp.maximum(c.sum(), 1e-30)
