"""What stands around an architecture, so that it reads complete embeddings of all fields."""

from __future__ import annotations

import functools

import jax.numpy as jnp
from flax import linen as nn
from ml_collections import ConfigDict

from dtn_jax.errors import UserError
from dtn_jax.field import Field
from dtn_jax.models.architectures import Architecture
from dtn_jax.models.experts import takes
from dtn_jax.models.histories import HISTORIES
from dtn_jax.models.histories.with_histories import Poolings, WithHistories, ways
from dtn_jax.models.numbers import NUMBERS
from dtn_jax.models.numbers.with_numbers import Embeddings, WithNumbers
from dtn_jax.models.own_options import own_options
from dtn_jax.models.vectors import WithVectors
from dtn_jax.schema import Schema


def completed(
    architecture: Architecture, model: ConfigDict, schema: Schema, scale: float, dtype: jnp.dtype
) -> nn.Module:
    """The architecture with what completes the embeddings of fields whose kind needs parameters:
    sequences that are pooled by the item at hand, vectors, and numbers with an embedding.

    Args:
      architecture: reads them.
      model: the options.
      schema: names the fields.
      scale: standard deviation of the tables' initial rows.
      dtype: of the products.

    Raises:
      UserError: an option outside its choices or its range.
    """
    if poolings := _poolings(model, schema, scale, dtype):
        architecture = WithHistories(architecture, poolings)
    elif architecture.history_readers:
        if not any(field.kind == "sequence" for field in schema.read):
            reason = f"data set {schema.name!r} has no sequence field"
        else:
            reason = (
                "a mean has no parameters that a task could have of its own: give model.histories, "
                f"one of {', '.join(HISTORIES)}"
            )
        raise UserError(f"model.dtn.own_histories: {reason}")
    vectors = tuple((f.name, i) for i, f in enumerate(schema.read) if f.kind == "vector")
    if vectors:
        architecture = WithVectors(architecture, vectors, scale, dtype)
    if embeddings := _embeddings(model, schema, scale, dtype):
        architecture = WithNumbers(architecture, embeddings)
    return architecture


def _poolings(model: ConfigDict, schema: Schema, scale: float, dtype: jnp.dtype) -> Poolings:
    """What pools each sequence field that is pooled by the item at hand."""
    places = {name: place for place, name in enumerate(schema.read_names)}

    def factory(name: str) -> functools.partial:
        pooling = HISTORIES[name]
        own = vars(own_options(model, name, pooling))
        given = {"scale": scale, "dropout": model.dropout}
        own |= {key: value for key, value in given.items() if takes(pooling, key)}
        return functools.partial(pooling, dtype=dtype, **own)

    return tuple(
        (name, places[name], places[schema.read[places[name]].target], factory(way))
        for name, way in ways(model.histories, schema).items()
    )


def _embeddings(model: ConfigDict, schema: Schema, scale: float, dtype: jnp.dtype) -> Embeddings:
    """What makes the embedding of each number that has one."""

    def factory(field: Field) -> functools.partial:
        embedding = NUMBERS[field.embedding]
        own = vars(own_options(model, field.embedding, embedding))
        if takes(embedding, "edges"):
            own["edges"] = field.edges
        return functools.partial(embedding, scale=scale, dtype=dtype, **own)

    places = enumerate(schema.read)
    return tuple((field.name, i, factory(field)) for i, field in places if field.embedded)
