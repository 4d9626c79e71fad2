"""Weighted logistic regression of watch time: positives weigh the seconds that were watched."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from dtn_jax.options import option
from dtn_jax.shapes import Array, Float

NEGATIVES = ("zeros", "all")


@dataclasses.dataclass(frozen=True)
class WeightedLogistic:
    """-y log p - n log(1 - p) (Covington, Adams and Sargin 2016, section 4.2), p = sigmoid(z).

    y >= 0 is the label, n is 1 for a negative. The prediction is the odds p / (1 - p) = exp(z): at
    best, the sum of y over the number of negatives. In the paper negatives are the rows of y = 0,
    N - k of N; the odds are sum(y) / (N - k) then, near to the mean label only where most rows have
    y = 0. If all rows are negatives too, the odds are the mean label itself.
    """

    kind = "regression"
    least = 0.0
    negatives: str = option(
        "zeros",
        "rows that count 1 as negatives: those of label 0, as in the paper, or all, for logs where "
        "most labels are above 0",
        choices=NEGATIVES,
    )

    @property
    def meaning(self) -> str:
        """What of the label the prediction is, in words for cards."""
        rows = "" if self.negatives == "all" else ", if most labels are 0"
        return f"the label's mean{rows}"

    def __call__(
        self, z: Float[Array, " B"], y: Float[Array, " B"], w: float
    ) -> Float[Array, " B"]:
        """Nats; NaN where y < 0, which ends a run. `w` is 1: the label itself weighs positives."""
        y = jnp.where(y < 0, jnp.nan, y)
        n = 1.0 if self.negatives == "all" else (y == 0).astype(z.dtype)
        return y * jax.nn.softplus(-z) + n * jax.nn.softplus(z)

    def prediction(self, z: Float[Array, " B"]) -> Float[Array, " B"]:
        """exp(z), in the label's unit."""
        return jnp.exp(z)
