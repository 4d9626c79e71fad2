"""What stands around an architecture, so that it reads complete embeddings of all fields.

Vectors, numbers with an embedding of their value, and sequences that are pooled by the item at hand
need parameters, which the look-up does not have. They are made in a module around the architecture:
none needs to know of it, and a plug-in's gets complete fields too.

Letters: B batch, F fields, D embedding width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from dtn_jax.errors import UserError, choose
from dtn_jax.field import Field
from dtn_jax.interface import SHARED, History, Inputs, Outputs
from dtn_jax.models.architectures import Architecture
from dtn_jax.models.histories import HISTORIES
from dtn_jax.models.layers import at_least_float32
from dtn_jax.models.numbers import NUMBERS
from dtn_jax.models.own_options import factory
from dtn_jax.options import pairs
from dtn_jax.schema import Schema
from dtn_jax.shapes import Array, Float

# Of each field: its name, its place among the F fields, what makes its module.
Embeddings = tuple[tuple[str, int, Callable[..., nn.Module]], ...]
# Of each field: its name, its place, that of its target, what makes its pooling.
Poolings = tuple[tuple[str, int, int, Callable[..., nn.Module]], ...]


class Completed(nn.Module):
    """An architecture that reads complete embeddings.

    Its parameters keep their paths. `embedded_VIEW/FIELD` has those of a vector or a number in a
    view, since each view has tables of its own; `histories_VIEW/FIELD` those of a pooling, or
    `histories_READER/FIELD` where the architecture has readers of their own.
    """

    architecture: Architecture
    embeddings: Embeddings
    poolings: Poolings

    def setup(self):
        nn.share_scope(self, self.architecture)

    @nn.compact
    def __call__(self, inputs: Inputs, train: bool) -> Outputs:
        """The outputs of the architecture."""
        fields = inputs.fields
        if self.embeddings:
            fields = {
                view: Embedded(self.embeddings, name=f"embedded_{view}")(x, inputs)
                for view, x in fields.items()
            }
        if self.poolings:
            views = dict.fromkeys(self.architecture.history_readers, SHARED)
            fields = {
                reader: Histories(self.poolings, name=f"histories_{reader}")(
                    fields[view], inputs.histories[view], train
                )
                for reader, view in (views or {view: view for view in fields}).items()
            }
        return self.architecture(inputs.replace(fields=fields), train)


class Embedded(nn.Module):
    """Adds f(x) to the embeddings of the vectors and of the known numbers of one view."""

    embeddings: Embeddings

    @nn.compact
    def __call__(self, fields: Float[Array, "B F D"], inputs: Inputs) -> Float[Array, "B F D"]:
        """The fields; those of other kinds as they were."""
        _, count, width = fields.shape
        for name, place, make in self.embeddings:
            f = make(width=width, name=name)
            if name in inputs.vectors:
                added = f(inputs.vectors[name])
            else:
                values, known = inputs.numbers[name]
                added = jnp.where(known[:, None], f(values), 0)
            around = ((0, 0), (place, count - 1 - place), (0, 0))
            fields = fields + jnp.pad(added.astype(fields.dtype)[:, None], around)
        return fields


class Histories(nn.Module):
    """Puts the pooled vectors in the places of the sequence fields of one view."""

    poolings: Poolings

    @nn.compact
    def __call__(
        self, fields: Float[Array, "B F D"], histories: Mapping[str, History], train: bool
    ) -> Float[Array, "B F D"]:
        """The fields; those of other kinds as they were."""
        vectors = {i: fields[:, i] for i in range(fields.shape[1])}
        for name, place, target, make in self.poolings:
            items, present = histories[name]
            vectors[place] = make(name=name)(fields[:, target], items, present, train)
        return jnp.stack(list(vectors.values()), axis=1)


def completed(
    architecture: Architecture, model: ConfigDict, schema: Schema, scale: float, dtype: jnp.dtype
) -> nn.Module:
    """The architecture, in `Completed` where the schema has fields that need it.

    Args:
      architecture: reads them.
      model: the options.
      schema: names the fields.
      scale: standard deviation of the tables' initial rows.
      dtype: of the products.

    Raises:
      UserError: an option outside its choices or its range.
    """
    poolings = _poolings(model, schema, scale, dtype)
    if architecture.history_readers and not poolings:
        sequences = [field.name for field in schema.read if field.kind == "sequence"]
        raise UserError(
            "model.dtn.own_histories: a mean has no parameters that a task could have of its own; "
            f"expected model.histories, one of {', '.join(HISTORIES)}, and sequence fields; data "
            f"set {schema.name!r} has {', '.join(sequences) or 'none'}"
        )
    embeddings = _embeddings(model, schema, scale, dtype)
    if not embeddings and not poolings:
        return architecture
    return Completed(architecture, embeddings, poolings)


def _poolings(model: ConfigDict, schema: Schema, scale: float, dtype: jnp.dtype) -> Poolings:
    """What pools each sequence field that is pooled by the item at hand."""
    places = {name: place for place, name in enumerate(schema.read_names)}

    parts = {"scale": scale, "dropout": model.dropout, "dtype": dtype}
    return tuple(
        (
            name,
            places[name],
            places[schema.read[places[name]].target],
            factory(HISTORIES[way], way, model, **parts),
        )
        for name, way in ways(model.histories, schema).items()
    )


def _embeddings(model: ConfigDict, schema: Schema, scale: float, dtype: jnp.dtype) -> Embeddings:
    """What makes the embedding of each vector, and of each number that has one."""

    def maker(field: Field) -> functools.partial:
        if field.kind == "vector":
            return functools.partial(projection, scale=scale, dtype=dtype)
        kind = NUMBERS[field.embedding]
        return factory(kind, field.embedding, model, scale=scale, dtype=dtype, edges=field.edges)

    fields = enumerate(schema.read)
    return tuple((f.name, i, maker(f)) for i, f in fields if f.kind == "vector" or f.embedded)


def projection(*, width: int, scale: float, dtype: jnp.dtype, name: str) -> nn.Dense:
    """f(x) = x W of a vector field, such as a content embedding; zeros, as a missing vector has,
    give zeros.

        e = x W + b  of a known vector x [K],  e = m  of a missing one,  W [K, D]

    b and m [D] are rows 1 and 0 of the field's table, which its one id looks up as every id does.
    W is a dense parameter and not K table rows: those would be gathered, sorted and updated for
    each example. At first W is normal with variance s² / K, LeCun's times s: of standardised
    numbers, x W has a variance of s², as a looked-up row has.

    Args:
      width: D.
      scale: s, the standard deviation of the tables' initial rows.
      dtype: of the product.
      name: of the field.
    """
    init = nn.initializers.variance_scaling(scale**2, "fan_in", "normal")
    exact = at_least_float32(dtype)
    return nn.Dense(
        width, use_bias=False, dtype=dtype, param_dtype=exact, kernel_init=init, name=name
    )


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
