"""A task's last layers.

Letters: B batch, K width of what the task's gates hand over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.models.layers import at_least_float32, dense, hidden_layers
from dtn_jax.shapes import Array, Float


class Tower(nn.Module):
    """Hidden relu layers with dropout, then one linear unit: the logit, of at least float32.

    That unit computes in float32 too: a logit of bfloat16 has some 8 bits, so that many rows tie.

    Attributes:
      outputs: (tower's name, K) of each that has K such units in place of one, as its task's loss
        needs.
    """

    hidden: tuple[int, ...] = (64,)
    dropout: float = 0.0
    dtype: Any = jnp.float32
    outputs: tuple[tuple[str, int], ...] = ()

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "B K"],
        train: bool,
        scales: Sequence[Float[Array, "B _"]] = (),
    ) -> Float[Array, "B ..."]:
        """The logits of a task, `[B]` or `[B, K]`, from what its gate mixed; `scales` multiply what
        each layer, the last included, reads (`widths`)."""
        h = hidden_layers(z, self.hidden, self.dtype, self.dropout, train, scales=scales)
        h = h * scales[-1] if scales else h
        outputs = dict(self.outputs).get(self.name, 1)
        z = dense(outputs, at_least_float32(self.dtype), name="logit")(h)
        return z if outputs > 1 else z[:, 0]
