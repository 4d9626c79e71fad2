"""The focal loss, for binary tasks whose many easy rows should count little."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from dtn_jax.options import option
from dtn_jax.shapes import Array, Float


@dataclasses.dataclass(frozen=True)
class Focal:
    """-w y (1 - p)^gamma log p - (1 - y) p^gamma log(1 - p) (Lin et al. 2017), p = sigmoid(z).

    It is not calibrated: unless gamma = 0, where it is the cross-entropy, its best p is nearer to
    1/2 than the rate of positives. Ranking metrics do not mind; log loss and ECE do, and so does
    what multiplies probabilities (ESMM, spaces other than the loss's own). The paper's alpha is
    w / (1 + w), up to a factor.
    """

    kind = "binary"
    gamma: float = option(
        2.0, "how little easy rows count; 0 is cross_entropy, the paper has 2", least=0.0
    )

    @property
    def proper(self) -> bool:
        """Whether the best p is the rate of positives."""
        return self.gamma == 0

    def __call__(
        self, z: Float[Array, " B"], y: Float[Array, " B"], w: float
    ) -> Float[Array, " B"]:
        """Nats. The powers are written as exp, whose gradient is finite where they are 0."""
        positive, negative = jax.nn.softplus(-z), jax.nn.softplus(z)  # -log p, -log(1 - p)
        hard = jnp.exp(-self.gamma * negative) * positive
        return w * y * hard + (1 - y) * jnp.exp(-self.gamma * positive) * negative
