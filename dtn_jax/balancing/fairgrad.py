"""FairGrad, "Fair Resource Allocation in Multi-Task Learning" (Ban & Ji 2024)."""

from __future__ import annotations

import dataclasses

from dtn_jax.balancing.balancer import GradientBalancer
from dtn_jax.balancing.solvers import fair
from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class FairGrad(GradientBalancer):
    """alpha-fair shares of a step's progress. The step is Σ_t c_t g_t with

        (G c)_t = c_t^(-1 / alpha)        (equation 6)

    alpha = 1 is proportional fairness (Nash-MTL); a larger one helps the worst task more. c is
    scaled to a step of the length sqrt(T λ), λ the largest eigenvalue of G, so that it compares
    with the plain sum: a tiny gradient does not shrink it. The authors' code leaves c as it is, so
    that steps lengthen as a gradient vanishes, multiplies by T, and clips the length to 1.
    """

    alpha: float = option(2.0, "of the fairness: 1 proportional, large max-min", least=0.1, most=20)

    def coefficients(self, gram: Float[Array, "T T"], losses, state, key) -> Float[Array, " T"]:
        return fair(gram, 1 / self.alpha)
