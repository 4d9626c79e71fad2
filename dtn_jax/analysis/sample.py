"""A fixed sample of rows, other values in the place of a field's, and a model on such rows."""

from __future__ import annotations

import dataclasses

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


def read_sample(
    data: Prepared, split: str, most: int, seed: int
) -> tuple[Batch, Int[np.ndarray, " B"] | None]:
    """Draws `most` of the split's rows without replacement, or takes all where there are no more.

    Returns:
      The rows, on the host, in the split's order, and their groups, None where the data set has
      none. The memory is that of the sample.

    Raises:
      UserError: an unknown split, or no row asked for.
    """
    total = data.rows[choose("split", split, data.rows)]
    if most < 1:
        raise UserError(f"rows={most}: expected at least 1")
    numbers = np.arange(total)
    if most < total:
        numbers = np.sort(np.random.default_rng(seed).choice(total, most, replace=False))
    group = data.groups(split)
    return SplitReader(data, split).picked(numbers), None if group is None else group[numbers]


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


Columns = dict[str, Bool[Array | np.ndarray, " _"]]  # of each of PARTS, which are a field's
PARTS = ("ids", "weights", "numeric")  # of a batch, that are of fields


def columns(schema: Schema, field: str) -> Columns:
    """Where a field stands in a batch: its ids, with those that stand beside them; their weights
    where it is a weighted bag; its number where it is standardised, or those of its vector."""
    choose("field", field, schema.read_names)
    slots = schema.slot_fields()
    fields = slots, [f for f in slots if f.weighted], schema.number_fields()
    masks = ([field in (f.name, f.beside) for f in part] for part in fields)
    return {part: np.array(mask, bool) for part, mask in zip(PARTS, masks)}


def replaced(rows: Batch, other: Batch, where: Columns) -> Batch:
    """`rows` with what `other` has of a field; everything of it moves together."""
    parts = ((part, getattr(other, part), getattr(rows, part)) for part in PARTS)
    return dataclasses.replace(rows, **{p: jnp.where(where[p], new, old) for p, new, old in parts})


def differ(rows: Batch, other: Batch) -> Bool[Array, " B"]:
    """The rows of which any field differs."""
    parts = ((getattr(rows, part) != getattr(other, part)).any(axis=1) for part in PARTS)
    return jnp.stack([*parts]).any(axis=0)


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
