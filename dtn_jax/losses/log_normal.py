"""The squared error of log(1 + label), for times and prices, whose logarithm is about normal."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class LogNormal:
    """(z - log(1 + y))^2, of labels y >= 0.

    If log(1 + y) is normal with mean z and standard deviation s, then 1 + y is log-normal, with
    median exp(z) and mean exp(z + s^2 / 2) (Aitchison and Brown 1957). The prediction is the median
    unless `spread` gives s. It is above -1 and rises with z, so that no order is lost.
    """

    kind = "regression"
    least = 0.0
    spread: float = option(
        0.0,
        "standard deviation of log(1 + label) about the model's value, with which the score is the "
        "label's mean; 0 for the median",
        least=0.0,
    )

    @property
    def meaning(self) -> str:
        """What of the label the prediction is, in words for cards."""
        return "the label's mean, if log-normal" if self.spread else "the label's median"

    def __call__(
        self, z: Float[Array, " B"], y: Float[Array, " B"], w: float
    ) -> Float[Array, " B"]:
        """Squared nats; NaN where y < 0, which ends a run. No row is a positive, so `w` is 1."""
        return jnp.square(z - jnp.log1p(jnp.where(y < 0, jnp.nan, y)))

    def prediction(self, z: Float[Array, " B"]) -> Float[Array, " B"]:
        """exp(z + spread^2 / 2) - 1, in the label's unit."""
        return jnp.exp(z + self.spread**2 / 2) - 1
