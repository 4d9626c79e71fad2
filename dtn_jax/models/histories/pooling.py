"""What every way of pooling a history is."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.shapes import Array, Bool, Float


class Pooling(nn.Module):
    """A history `[B, S, D]` to one vector `[B, D]`, by the item at hand; zeros for an empty one.

    A subclass says in `pooled` how, of arguments in `dtype`. What it makes of an empty history does
    not count.

    Attributes:
      dtype: of the products.
    """

    dtype: Any = jnp.float32

    def __call__(
        self,
        target: Float[Array, "B D"],
        items: Float[Array, "B S D"],
        present: Bool[Array, "B S"],
        train: bool,
    ) -> Float[Array, "B D"]:
        """The vector of each row; `target` is the embedding of the item at hand."""
        vector = self.pooled(target.astype(self.dtype), items.astype(self.dtype), present, train)
        return jnp.where(present.any(axis=1)[:, None], vector, 0).astype(items.dtype)

    def pooled(self, target: Array, items: Array, present: Array, train: bool) -> Array:
        """What a subclass defines: `[B, D]`, from the arguments of a call, cast to `dtype`."""
        raise NotImplementedError
