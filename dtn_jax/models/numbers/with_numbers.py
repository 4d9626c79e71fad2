"""Numbers with an embedding of their value: made before an architecture sees the fields.

They stand in a module around the architecture, as vectors do (models/vectors.py), so that none
needs to know of them and a plug-in's gets them too.

Letters: B batch, F fields, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.interface import Inputs, Number, Outputs
from dtn_jax.shapes import Array, Float

# (name, place among the F fields, what makes its module) of each field
Embeddings = tuple[tuple[str, int, Callable[..., nn.Module]], ...]


class WithNumbers(nn.Module):
    """An architecture that reads the completed embeddings of numbers.

    Its parameters keep their paths. `numbers_VIEW/FIELD` are those of a field in a view: each view
    has its own, as it has tables of its own.

    Attributes:
      reader: the architecture, which may stand in a module of its own (WithVectors).
      embeddings: of the fields, see dtn_jax.models.numbers.
    """

    reader: nn.Module
    embeddings: Embeddings

    def setup(self):
        nn.share_scope(self, self.reader)

    @nn.compact
    def completed(self, inputs: Inputs) -> Inputs:
        """The inputs with f(x) added to the field embeddings of known numbers, in all views."""
        fields = {
            view: Embedded(self.embeddings, name=f"numbers_{view}")(embedded, inputs.numbers)
            for view, embedded in inputs.fields.items()
        }
        return inputs.replace(fields=fields)

    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        return self.reader(self.completed(inputs), train)


class Embedded(nn.Module):
    """Adds f(x) to the embeddings of the numbers of one view."""

    embeddings: Embeddings

    @nn.compact
    def __call__(
        self, fields: Float[Array, "B F D"], numbers: Mapping[str, Number]
    ) -> Float[Array, "B F D"]:
        _, count, width = fields.shape
        for name, place, make in self.embeddings:
            values, known = numbers[name]
            made = jnp.where(known[:, None], make(width=width, name=name)(values), 0)
            around = ((0, 0), (place, count - 1 - place), (0, 0))
            fields = fields + jnp.pad(made.astype(fields.dtype)[:, None], around)
        return fields
