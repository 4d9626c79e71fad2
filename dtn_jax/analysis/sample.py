"""A fixed sample of rows, other values in the place of a field's, and a model on such rows."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepared import Prepared
from dtn_jax.errors import UserError, choose
from dtn_jax.interface import Batch, Inputs
from dtn_jax.run.state import State
from dtn_jax.schema import Schema
from dtn_jax.shapes import Array, Bool, Int
from dtn_jax.tables import exchange, lookup
from dtn_jax.tables.plan import TablePlan


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
    """The rows that `draw` draws, with their groups; the memory is that of the sample."""
    numbers = draw(data, split, most, seed)
    group = data.groups(split)
    return Sample(
        split=split,
        rows=SplitReader(data, split).picked(numbers),
        group=None if group is None else group[numbers],
    )


def draw(data: Prepared, split: str, most: int, seed: int) -> Int[np.ndarray, " B"]:
    """Draws `most` of the split's rows without replacement, or takes all where there are no more.

    Returns:
      Their numbers, ascending.

    Raises:
      UserError: an unknown split, or no row asked for.
    """
    total = data.rows[choose("split", split, data.rows)]
    if most < 1:
        raise UserError(f"rows={most}: expected at least 1")
    if most >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, most, replace=False))


class Forward:
    """What every measure does with a state and a batch, without dropout and as when it scores."""

    def __init__(self, model: nn.Module, plan: TablePlan, mesh: jax.sharding.Mesh | None = None):
        self.model, self.plan, self.look_ups = model, plan, exchange.look_ups(plan, mesh)

    def inputs(self, state: State, batch: Batch) -> Inputs:
        """What the model reads."""
        gathered = lookup.gather(state.tables, lookup.row_ids(self.plan, batch), self.look_ups)
        return lookup.to_inputs(self.plan, gathered, batch)

    def apply(self, state: State, given: Inputs, **how: object):
        """The model's outputs, or what else `how` asks of `nn.Module.apply`."""
        how = how if "method" in how else {"train": False, **how}
        variables = {"params": state.params, "batch_stats": state.model_state}
        return self.model.apply(variables, given, **how)


class Columns(NamedTuple):
    """Where a field stands in a batch.

    Attributes:
      slots: `[L]`, its ids, with those that stand beside them.
      weights: `[W]`, those of its ids where it is a weighted bag.
      numbers: `[N]`, its number where it is standardised, its K numbers where it is a vector.
    """

    slots: Bool[Array | np.ndarray, " L"]
    weights: Bool[Array | np.ndarray, " W"]
    numbers: Bool[Array | np.ndarray, " N"]


def columns(schema: Schema, field: str) -> Columns:
    choose("field", field, schema.read_names)

    def own(fields) -> np.ndarray:
        return np.array([field in (f.name, f.beside) for f in fields], bool)

    slots = schema.slot_fields()
    return Columns(own(slots), own(f for f in slots if f.weighted), own(schema.number_fields()))


def replaced(rows: Batch, other: Batch, where: Columns) -> Batch:
    """`rows` with what `other` has of a field; everything of it moves together."""
    return dataclasses.replace(
        rows,
        ids=jnp.where(where.slots[None], other.ids, rows.ids),
        weights=jnp.where(where.weights[None], other.weights, rows.weights),
        numeric=jnp.where(where.numbers[None], other.numeric, rows.numeric),
    )


def differ(rows: Batch, other: Batch) -> Bool[Array, " B"]:
    """The rows of which any field differs."""
    pairs = zip((rows.ids, rows.weights, rows.numeric), (other.ids, other.weights, other.numeric))
    return jnp.stack([(a != b).any(axis=1) for a, b in pairs]).any(axis=0)


def unknown(schema: Schema, rows: Batch) -> Batch:
    """The rows as they would be if no value were known: id 0, and 1 as a standardised number,
    which scales row 0; a vector's numbers are 0. Padding stays padding: a bag keeps its length, and
    its weights."""
    scales = np.array([f.standardised for f in schema.number_fields()], rows.numeric.dtype)
    return dataclasses.replace(
        rows,
        ids=jnp.where(rows.ids >= 0, 0, rows.ids),
        numeric=jnp.broadcast_to(scales, rows.numeric.shape),
    )
