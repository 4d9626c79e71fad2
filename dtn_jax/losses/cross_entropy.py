"""Cross-entropy, the loss of binary tasks: its best logit is the log-odds."""

from __future__ import annotations

import dataclasses

import jax

from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class CrossEntropy:
    """-w y log p - (1 - y) log(1 - p) = w y softplus(-z) + (1 - y) softplus(z), p = sigmoid(z)."""

    kind = "binary"

    def __call__(
        self, z: Float[Array, " B"], y: Float[Array, " B"], w: float
    ) -> Float[Array, " B"]:
        """Nats."""
        return w * y * jax.nn.softplus(-z) + (1 - y) * jax.nn.softplus(z)
