"""The squared error, the loss of regression tasks: its best prediction is the mean."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class SquaredError:
    """(z - y)^2."""

    kind = "regression"
    meaning = "the label's mean"

    def __call__(
        self, z: Float[Array, " B"], y: Float[Array, " B"], w: float
    ) -> Float[Array, " B"]:
        """Squared label units; a regression task has no positives, so `w` is 1."""
        return jnp.square(z - y)
