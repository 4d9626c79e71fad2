"""Looked-up rows to one vector a field: bags are pooled, standardised numbers scale their row.

Of a bag's rows r_i, over its slots that are not padding, with weights w_i (1 in a field without
weights):

    sum    Σ w_i r_i
    mean   Σ w_i r_i / Σ w_i, and the zero vector where Σ w_i = 0
    max    the largest r_i in each of the D places; it takes no weights

An empty bag is the zero vector, and so is one that holds no id but padding.

A sequence is pooled as a bag without weights, where the model has no way of its own. The row of an
item is first added to those of its companions, the ids that stand beside it.

Of a vector field it is row 1 of its table where the vector x is known, else row 0.
The model adds x W, where W is a parameter: models/completed.py. So it is with a number that has an
embedding: the model adds what it makes of the value, models/numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import jax.numpy as jnp

from dtn_jax.interface import Batch, History, Number
from dtn_jax.schema import Field, Schema
from dtn_jax.shapes import Array, Bool, Float

KNOWN = 1  # the row of a known vector or number


def pool(schema: Schema, rows: Float[Array, "B L D"], batch: Batch) -> Float[Array, "B F D"]:
    """Pools the rows of all slots; those of padding are zeros, as look-ups give them."""
    plain = len(schema.read) == schema.slots
    scaled = any(_scales(field) for field in schema.fields)
    if plain and not scaled and not schema.weighted_slots:
        return rows  # one id a field: nothing to pool
    real = (batch.ids >= 0) & batch.row_mask[:, None]
    pooled, places, weight, number = [], slots_of(schema), 0, 0
    for field in schema.read:
        present = real[:, places[field.name]]
        vectors = _rows(schema, field, rows, present, places)
        if field.weighted:
            weights = batch.weights[:, weight : weight + field.slots]
            weight += field.slots
            vector = _weighted(vectors, jnp.where(present, weights, 0), field.pooling)
        elif field.slots == 1:
            vector = vectors[:, 0]
        else:
            vector = _unweighted(vectors, present, field.pooling)
        if _scales(field):
            vector = vector * batch.numeric[:, number][:, None]
        number += field.numbers
        pooled.append(vector)
    return jnp.stack(pooled, axis=1)


def vectors(schema: Schema, batch: Batch) -> dict[str, Float[Array, "B _"]]:
    """The numbers of each vector field, `[B, K]`; zeros where it is missing and in masked rows."""
    by_field, slot, number = {}, 0, 0
    for field in schema.fields:
        if field.kind == "vector":
            known = (batch.ids[:, slot] == KNOWN) & batch.row_mask
            values = batch.numeric[:, number : number + field.length]
            by_field[field.name] = jnp.where(known[:, None], values, 0)
        slot, number = slot + field.slots, number + field.numbers
    return by_field


def histories(schema: Schema, rows: Float[Array, "B L D"], batch: Batch) -> dict[str, History]:
    """The rows of each history, companions added, and which are of no padding."""
    by_field, places = {}, slots_of(schema)
    for field in schema.read:
        if field.kind == "sequence":
            real = (batch.ids[:, places[field.name]] >= 0) & batch.row_mask[:, None]
            by_field[field.name] = History(_rows(schema, field, rows, real, places), real)
    return by_field


def slots_of(schema: Schema) -> dict[str, slice]:
    """{field: where its ids lie among the L}."""
    ends = itertools.accumulate(field.slots for field in schema.fields)
    return {f.name: slice(end - f.slots, end) for f, end in zip(schema.fields, ends)}


def _rows(
    schema: Schema,
    field: Field,
    rows: Float[Array, "B L D"],
    present: Bool[Array, "B S"],
    places: Mapping[str, slice],
) -> Float[Array, "B S D"]:
    """The rows of a field's ids, each with those of its companions."""
    vectors = rows[:, places[field.name]]
    companions = schema.companions(field.name)
    for companion in companions:
        vectors = vectors + rows[:, places[companion.name]]
    return jnp.where(present[:, :, None], vectors, 0) if companions else vectors


def numbers(schema: Schema, batch: Batch) -> dict[str, Number]:
    """The values of each numeric field that has an embedding of them."""
    by_field, slot, number = {}, 0, 0
    for field in schema.fields:
        if field.embedded:
            known = (batch.ids[:, slot] == KNOWN) & batch.row_mask
            by_field[field.name] = Number(jnp.where(known, batch.numeric[:, number], 0), known)
        slot, number = slot + field.slots, number + field.numbers
    return by_field


def _scales(field: Field) -> bool:
    return field.standardised and not field.embedded


def _weighted(
    vectors: Float[Array, "B S D"], weights: Float[Array, "B S"], pooling: str
) -> Float[Array, "B D"]:
    weights = weights.astype(vectors.dtype)
    # Not a matrix product, which an accelerator would round to fewer bits.
    summed = (weights[:, :, None] * vectors).sum(axis=1)
    if pooling == "sum":
        return summed
    total = weights.sum(axis=1)[:, None]
    return jnp.where(total == 0, 0, summed / jnp.where(total == 0, 1, total))


def _unweighted(
    vectors: Float[Array, "B S D"], present: Bool[Array, "B S"], pooling: str
) -> Float[Array, "B D"]:
    if pooling == "max":
        largest = jnp.where(present[:, :, None], vectors, -jnp.inf).max(axis=1)
        return jnp.where(present.any(axis=1)[:, None], largest, 0)
    summed = vectors.sum(axis=1)
    if pooling == "sum":
        return summed
    return summed / jnp.maximum(present.sum(axis=1), 1)[:, None]
