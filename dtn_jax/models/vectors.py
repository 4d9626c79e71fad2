"""Vector fields, such as a content embedding: projected before an architecture sees the fields.

    e = x W + b  of a known vector x [K],  e = m  of a missing one,  W [K, D]

b and m [D] are rows 1 and 0 of the field's table, which its one id looks up as every id does. W is
a dense parameter and not K table rows: those would be gathered, sorted and updated for each
example. It stands in a module around the architecture, so that none needs to know of it and a
plug-in's gets it too; and not beside the look-up, which has no parameters.

Letters: B batch, F fields, D embedding width, K numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Inputs, Outputs
from dtn_jax.models.architectures import Architecture
from dtn_jax.models.layers import at_least_float32
from dtn_jax.shapes import Array, Float


class WithVectors(nn.Module):
    """An architecture that reads the completed embeddings of vector fields.

    Its parameters keep their paths. `vectors_VIEW/FIELD` is the W of a field in a view: each view
    has its own, as it has tables of its own.

    Attributes:
      architecture: reads the inputs.
      places: (name, place among the F fields) of each vector field.
      scale: standard deviation of the tables' initial rows; see `Projections`.
      dtype: of the products.
    """

    architecture: Architecture
    places: tuple[tuple[str, int], ...]
    scale: float
    dtype: Any

    def setup(self):
        nn.share_scope(self, self.architecture)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """The outputs of the architecture, which gets complete fields."""
        fields = {
            view: Projections(self.places, self.scale, self.dtype, name=f"vectors_{view}")(
                embedded, inputs.vectors
            )
            for view, embedded in inputs.fields.items()
        }
        return self.architecture(inputs.replace(fields=fields), train)


class Projections(nn.Module):
    """Adds x W to the embeddings of the vector fields of one view.

    At first W is normal with variance s² / K, LeCun's times s, which is the deviation of the rows
    of a table: of standardised numbers, x W has a variance of s² too, as a looked-up row has.
    """

    places: tuple[tuple[str, int], ...]
    scale: float
    dtype: Any

    @nn.compact
    def __call__(
        self, fields: Float[Array, "B F D"], vectors: Mapping[str, Float[Array, "B _"]]
    ) -> Float[Array, "B F D"]:
        """The fields, complete; `vectors` has the K numbers of each vector field."""
        _, count, width = fields.shape
        init = nn.initializers.variance_scaling(self.scale**2, "fan_in", "normal")
        for name, place in self.places:
            x = vectors[name]
            shape = (x.shape[1], width)
            W = self.param(name, init, shape, at_least_float32(self.dtype))
            projected = x.astype(self.dtype) @ W.astype(self.dtype)
            around = ((0, 0), (place, count - 1 - place), (0, 0))
            fields = fields + jnp.pad(projected.astype(fields.dtype)[:, None], around)
        return fields
