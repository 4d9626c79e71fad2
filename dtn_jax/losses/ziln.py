"""The zero-inflated log-normal loss, for lifetime value: most labels are 0, and a few are large.

"A Deep Probabilistic Model for Customer Lifetime Value Prediction" (Wang, Liu and Miao 2019), with
the authors' code, google/lifetime_value, `zero_inflated_lognormal.py`.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from dtn_jax.shapes import Array, Float

LEAST = 1e-7**0.5  # of s in the loss, as in the authors' code


@dataclasses.dataclass(frozen=True)
class ZILN:
    """-log P(y) of a label that is 0 with the probability 1 - p, and else log-normal:

        -log(1 - p)                                                            where y = 0
        -log p + log y + log s + log(2π) / 2 + (log y - m)² / (2 s²)           where y > 0

    The task's tower gives three numbers: the log-odds of p, m, and what softplus makes s of. The
    prediction is the expected label p exp(m + s² / 2).
    """

    kind = "regression"
    meaning = "the label's mean, if log-normal where above 0"
    least = 0.0
    outputs = 3
    negative = True

    def __call__(
        self, z: Float[Array, "B 3"], y: Float[Array, " B"], w: float
    ) -> Float[Array, " B"]:
        """Nats; NaN where y < 0, which ends a run. No row is a positive, so `w` is 1."""
        y = jnp.where(y < 0, jnp.nan, y)
        s = jnp.maximum(jax.nn.softplus(z[:, 2]), LEAST)
        log_y = jnp.log(jnp.where(y == 0, 1, y))
        log_normal = log_y + jnp.log(s) + math.log(2 * math.pi) / 2
        log_normal = log_normal + jnp.square((log_y - z[:, 1]) / s) / 2
        return jnp.where(y == 0, jax.nn.softplus(z[:, 0]), jax.nn.softplus(-z[:, 0]) + log_normal)

    def prediction(self, z: Float[Array, "B 3"]) -> Float[Array, " B"]:
        """p exp(m + s² / 2), in the label's unit."""
        s = jax.nn.softplus(z[:, 2])
        return jnp.exp(jax.nn.log_sigmoid(z[:, 0]) + z[:, 1] + jnp.square(s) / 2)
