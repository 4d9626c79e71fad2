"""Sequence fields, pooled by the item at hand before an architecture sees the fields.

As vector fields are (vectors.py), they are completed in a module around the architecture, so that
none needs to know of it. Without a way of its own a sequence is pooled as a bag is, by
tables/pooling.py, which adds the rows of companions to those of the items in both cases.

Letters: B batch, F fields, D embedding width, S slots of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax.numpy as jnp
from flax import linen as nn

from dtn_jax.errors import UserError, choose
from dtn_jax.interface import SHARED, History, Inputs, Outputs
from dtn_jax.models.histories import HISTORIES
from dtn_jax.options import pairs
from dtn_jax.schema import Schema
from dtn_jax.shapes import Array, Float

# Of each field: its name, its place among the F fields, that of its target, its pooling's factory.
Poolings = tuple[tuple[str, int, int, Callable[..., nn.Module]], ...]


class WithHistories(nn.Module):
    """An architecture that reads the pooled vectors of sequence fields.

    Its parameters keep their paths. `histories_VIEW/FIELD` has those of a field's pooling in a
    view, or `histories_READER/FIELD` where the architecture has readers of their own.

    Attributes:
      inner: the architecture. In modules that stand around one another no attribute may share its
        name, since they share a scope.
      poolings: of the fields that are pooled so.
    """

    inner: nn.Module
    poolings: Poolings

    def setup(self):
        nn.share_scope(self, self.inner)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        views = dict.fromkeys(self.inner.history_readers, SHARED)
        fields = {
            reader: Histories(self.poolings, name=f"histories_{reader}")(
                inputs.fields[view], inputs.histories[view], train
            )
            for reader, view in (views or {view: view for view in inputs.fields}).items()
        }
        return self.inner(inputs.replace(fields=fields), train)


class Histories(nn.Module):
    """Puts the pooled vectors in the places of the sequence fields of one view."""

    poolings: Poolings

    @nn.compact
    def __call__(
        self, fields: Float[Array, "B F D"], histories: Mapping[str, History], train: bool
    ) -> Float[Array, "B F D"]:
        vectors = {i: fields[:, i] for i in range(fields.shape[1])}
        for name, place, target, make in self.poolings:
            items, present = histories[name]
            vectors[place] = make(name=name)(fields[:, target], items, present, train)
        return jnp.stack(list(vectors.values()), axis=1)


def ways(text: str, schema: Schema) -> dict[str, str]:
    """{sequence field: the way of HISTORIES that pools it}, from `model.histories`.

    Raises:
      UserError: an unknown way, or a field that is no sequence.
    """
    known = [field.name for field in schema.read if field.kind == "sequence"]
    if not text:
        return {}
    if not known:
        raise UserError(f"model.histories={text!r}: data set {schema.name!r} has no sequence field")
    if "=" not in text:
        return dict.fromkeys(known, choose("model.histories", text, HISTORIES))
    given = pairs(text, "model.histories", "field=way")
    for field, name in given.items():
        choose("sequence field in model.histories", field, known)
        choose(f"model.histories: way of {field}", name, HISTORIES)
    return {field: given[field] for field in known if field in given}
