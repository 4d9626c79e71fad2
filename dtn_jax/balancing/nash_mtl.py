"""Nash-MTL, "Multi-Task Learning as a Bargaining Game" (Navon et al. 2022)."""

from __future__ import annotations

import dataclasses

from dtn_jax.balancing.balancer import GradientBalancer
from dtn_jax.balancing.solvers import fair
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class NashMTL(GradientBalancer):
    """The tasks bargain for the direction, and this is the Nash solution. It has Σ_t c_t g_t with

        G c = λ / c        (claim 3.1)

    λ is the largest eigenvalue of G, so that it compares with the plain sum: the step has the
    length sqrt(T λ). So a task with a tiny gradient has a large coefficient, and the step does not
    shrink; nor does it where gradients all but cancel. The authors' code has the Frobenius norm of
    G for λ and clips the length to 1; it takes some steps of an approximation, and here the
    equation is solved.
    """

    def coefficients(self, gram: Float[Array, "T T"], losses, state, key) -> Float[Array, " T"]:
        return fair(gram, 1.0)
