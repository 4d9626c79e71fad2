"""Huber's loss, for regression tasks with outliers, such as watch time."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class Huber:
    """e^2 / 2 where |e| <= delta, else delta (|e| - delta / 2), with e = z - y (Huber 1964).

    Near 0 it is half of `squared_error`. Its best prediction lies between median and mean.
    """

    kind = "regression"
    meaning = "between the label's median and mean"
    delta: float = option(
        1.0, "error, in label units, from which the loss grows linearly", above=0.0
    )

    def __call__(
        self, z: Float[Array, " B"], y: Float[Array, " B"], w: float
    ) -> Float[Array, " B"]:
        """Squared label units; a regression task has no positives, so `w` is 1."""
        error = jnp.abs(z - y)
        inner = jnp.minimum(error, self.delta)
        return inner * (error - inner / 2)
