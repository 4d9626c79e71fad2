"""A fixed sample of a split's rows, and other values in the place of one field's."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from dtn_jax.datasets.catalog import Prepared
from dtn_jax.input_pipeline import Batch, in_order, take
from dtn_jax.schema import Schema, UserError, choose

READ = 1 << 16  # rows read at a time: the memory is that of the sample, not of the split


@dataclasses.dataclass(frozen=True)
class Sample:
    """Rows of a split, on the host.

    Attributes:
      split: which.
      rows: `[B, ...]` in the split's order, none of them padding.
      group: `[B]`, the rows' groups; None where the data set has none.
    """

    split: str
    rows: Batch
    group: Int[np.ndarray, " B"] | None


def read_sample(data: Prepared, split: str, most: int, seed: int) -> Sample:
    """Draws `most` of the split's rows without replacement, or takes all where there are no more.

    Raises:
      UserError: an unknown split, or no row asked for.
    """
    total = data.rows[choose("split", split, data.rows)]
    if most < 1:
        raise UserError(f"rows={most}: expected at least 1")
    place = np.arange(total)
    if most < total:
        place = np.sort(np.random.default_rng(seed).choice(total, most, replace=False))
    parts = []
    for start, batch in zip(range(0, total, READ), in_order(data, split, READ)):
        first, last = np.searchsorted(place, [start, start + READ])
        parts.append(take(batch, place[first:last] - start))
    group = data.groups(split)
    return Sample(
        split=split,
        rows=jax.tree.map(lambda *a: np.concatenate(a), *parts),
        group=None if group is None else group[place],
    )


class Columns(NamedTuple):
    """Where a field stands in a batch: its slots `[L]`, and its number `[N]` if standardised."""

    slots: Bool[np.ndarray, " L"]
    numbers: Bool[np.ndarray, " N"]


def columns(schema: Schema, field: str) -> Columns:
    choose("field", field, schema.field_names)
    return Columns(
        slots=np.array([f.name == field for f in schema.slot_fields()], bool),
        numbers=np.array([f.name == field for f in schema.numeric_fields], bool),
    )


def replaced(
    rows: Batch, other: Batch, slots: Bool[Array, " L"], numbers: Bool[Array, " N"]
) -> Batch:
    """`rows` with what `other` has in these columns; everything of a field moves together."""
    return dataclasses.replace(
        rows,
        ids=jnp.where(slots[None], other.ids, rows.ids),
        numeric=jnp.where(numbers[None], other.numeric, rows.numeric),
    )


def unknown(rows: Batch) -> Batch:
    """The rows as they would be if no value were known: id 0, and 1 as a standardised number,
    which scales row 0. Padding stays padding: a bag keeps its length."""
    return dataclasses.replace(
        rows, ids=jnp.where(rows.ids >= 0, 0, rows.ids), numeric=jnp.ones_like(rows.numeric)
    )
