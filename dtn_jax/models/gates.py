"""Gates weigh experts, per example; the task-sensitive network scales them.

Letters: B batch, M experts, H expert width, W width of the gate's input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.models.layers import at_least_float32, dense
from dtn_jax.shapes import Array, Float


class Gate(nn.Module):
    """softmax(x W + b) over `size` = M experts: the gate reads the model's input."""

    size: int
    use_bias: bool
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B W"], product: Float[Array, "B M"] | None = None
    ) -> Float[Array, "B M"]:
        """The weights, which sum to 1 in a row; `product` is x W, where it is known."""
        scores = dense(
            self.size, self.dtype, name="scores", use_bias=self.use_bias, product=product
        )
        return _softmax(scores(x))


class ScoreGate(nn.Module):
    """softmax over m of relu(f_m . v_m + b_m): each expert's score is read from its own output."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, experts: Sequence[Float[Array, "B H"]]) -> Float[Array, "B M"]:
        """The weights of the M experts, which sum to 1 in a row."""
        scores = [
            nn.relu(dense(1, self.dtype, name=f"score_{m}")(f)) for m, f in enumerate(experts)
        ]
        return _softmax(jnp.concatenate(scores, axis=-1))


def _softmax(scores: Float[Array, "B M"]) -> Float[Array, "B M"]:
    return nn.softmax(scores.astype(at_least_float32(scores.dtype)), axis=-1)


def mix(
    weights: Float[Array, "B M"], experts: Sequence[Float[Array, "B H"]]
) -> Float[Array, "B H"]:
    """sum over m of weights[:, m] * experts[m]."""
    if len(experts) != weights.shape[1]:
        raise ValueError(f"got {weights.shape[1]} weights for {len(experts)} experts")
    # Elementwise, not a matrix product: M is a handful, and a batch of B tiny products is slow.
    mixed = sum(weights[:, m, None] * f for m, f in enumerate(experts))
    return mixed.astype(experts[0].dtype)


def shares(weights: Mapping[str, Float[Array, " B"]]) -> dict[str, Float[Array, " B"]]:
    """What scales each source without its sign, over their sum: weights as a gate has them."""
    total = sum(jnp.abs(weight) for weight in weights.values())
    return {name: jnp.abs(w) / jnp.maximum(total, 1e-30) for name, w in weights.items()}


def tsn(
    experts: Sequence[Float[Array, "B H"]], probability: Float[Array, " B"], learns: bool = False
) -> list[Float[Array, "B H"]]:
    """An upstream group's experts times the upstream task's probability, which learns nothing
    from it unless `learns`."""
    p = (probability if learns else jax.lax.stop_gradient(probability))[:, None]
    return [(p * f).astype(f.dtype) for f in experts]
