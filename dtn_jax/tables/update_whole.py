"""A step that is computed for every row of a table, and kept where a row was touched."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dtn_jax.shapes import Array, Bool, Float, Shaped
from dtn_jax.tables.rounding import rounded
from dtn_jax.tables.row_optimizers import RowOptimizer, Scalars, Slots
from dtn_jax.tables.stored_rows import StoredRows, numbers


class WholeSums(NamedTuple):
    """Of every row of a table.

    Attributes:
      gradient: the sums over a batch; zeros where it does not touch a row.
      touched: whether it does, as `StoredRows.by_row`.
    """

    gradient: Float[Array, "L lanes"]
    touched: Bool[Array, "L ..."]


def step(
    optimizer: RowOptimizer,
    lie: StoredRows,
    table: Shaped[Array, "L lanes"],
    slots: Slots,
    sums: WholeSums,
    scalars: Scalars,
) -> tuple[Array, Slots]:
    """Table and slots after a step of the touched rows."""
    rows = numbers(table).astype(sums.gradient.dtype)
    rate = scalars.rate.astype(rows.dtype)
    old_slots = jax.tree.map(by_line, slots)
    pulled = sums.gradient + scalars.l2 * rows
    delta, new_slots = optimizer.step(rows, old_slots, pulled, rate, lie)
    spread = lie.spread(by_line(sums.touched))

    def keep(new, old):
        new = new.reshape(old.shape)
        return jnp.where(spread if old.shape == lie.shape else sums.touched, new, old)

    table = keep(rounded(rows + delta, rows, scalars.step, table.dtype, lie), table)
    return table, jax.tree.map(keep, new_slots, slots)


def with_l2(lie: StoredRows, table: Array, sums: WholeSums, l2: Array) -> Float[Array, "L lanes"]:
    """The gradient of every row, with L2 on the rows that the batch touches."""
    touched = lie.spread(by_line(sums.touched))
    return sums.gradient + l2 * jnp.where(touched, table, 0)


def by_line(slot: Array) -> Array:
    """A slot's lines as they are; numbers by row `[V]` as `[V, 1]`."""
    return slot if slot.ndim > 1 else slot[:, None]
