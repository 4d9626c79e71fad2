"""How GPUs and TPUs update rows: one sort of (row, place), and no scatter of repeated rows.

The batch's ids are sorted with their places, so that equal rows, and the rows of one line, stand
together in the order of the data. Gradients are summed there (`run_sums`), and at the last place of
each line's run the line is read, stepped and written, once. The other places read zeros and write
nothing. So sums do not depend on timing, and no hint says that places are sorted: TPU compilers
take such a write through the whole table.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from dtn_jax.tables.rounding import rounded
from dtn_jax.tables.row_optimizers import RowOptimizer, Scalars, Slots
from dtn_jax.tables.run_sums import run_sums
from dtn_jax.tables.stored_rows import StoredRows, numbers


class Touched(NamedTuple):
    """The lines that a batch touches, each at one of N places.

    Attributes:
      at: the line; at places without one, numbers out of range, all distinct.
      gradient: sums over the batch, 0 in the lanes of rows that it does not touch.
      rows: which rows of the line it touches.
    """

    at: Int[Array, " N"]
    gradient: Float[Array, "N lanes"]
    rows: Bool[Array, "N K"]


def touched_lines(lie: StoredRows, ids: Int[Array, " N"], gradient: Float[Array, "N D"]) -> Touched:
    """Sums the gradients of equal rows, and gathers the rows of a line; ids of `lie.rows` and more
    are dropped."""
    n, k = len(ids), lie.per_line
    place = jnp.arange(n, dtype=jnp.int32)
    ids, source = jax.lax.sort((ids, place), num_keys=2)
    line, in_line = lie.where(ids)
    starts = _changes(line)
    ends = jnp.concatenate([starts[1:], jnp.ones(1, bool)])
    at = jnp.where(ends & (line < lie.lines), line, lie.lines + place)
    summed = run_sums(starts, lie.alone(gradient[source], in_line))
    if k == 1:
        return Touched(at, summed, jnp.ones((n, 1), bool))
    bits = jnp.where(_changes(ids), jnp.uint32(1) << in_line.astype(jnp.uint32), 0)
    bits = run_sums(starts, bits)
    rows = (bits[:, None] >> jnp.arange(k, dtype=jnp.uint32)[None]) & 1
    return Touched(at, summed, rows.astype(bool))


def update(
    optimizer: RowOptimizer,
    lie: StoredRows,
    table: Shaped[Array, "L lanes"],
    slots: Slots,
    ids: Int[Array, " N"],
    gradient: Float[Array, "N D"],
    scalars: Scalars,
) -> tuple[Array, Slots]:
    """Applies one step to the rows `ids` (repeats allowed, out of range dropped)."""
    touched = touched_lines(lie, ids, gradient)
    old_lines = read(lie, table, touched)
    lines = numbers(old_lines).astype(gradient.dtype)
    old_slots = jax.tree.map(lambda slot: read(lie, slot, touched), slots)
    pulled = touched.gradient + in_touched(lie, touched, scalars.l2 * lines, 0)
    rate = scalars.rate.astype(lines.dtype)
    delta, new_slots = optimizer.step(lines, old_slots, pulled, rate, lie)
    new_lines = rounded(lines + delta, lines, scalars.step, table.dtype, lie)
    table = write(lie, table, touched, new_lines, old_lines)
    slots = jax.tree.map(
        lambda slot, new, old: write(lie, slot, touched, new, old), slots, new_slots, old_slots
    )
    return table, slots


def whole_gradient(
    lie: StoredRows,
    table: Float[Array, "L lanes"],
    ids: Int[Array, " N"],
    gradient: Float[Array, "N D"],
    l2: Float[Array, ""],
) -> Float[Array, "L lanes"]:
    """The gradient of every row: sums over the batch, with L2 on the rows that it touches."""
    touched = touched_lines(lie, ids, gradient)
    pulled = touched.gradient + in_touched(lie, touched, l2 * read(lie, table, touched), 0)
    return jnp.zeros_like(table).at[touched.at].set(pulled, unique_indices=True, mode="drop")


def read(lie: StoredRows, array: Array, touched: Touched) -> Array:
    """Of an array like the table the touched lines `[N, lanes]`; of one with a number for each row
    `[N, K]`."""
    found = {"unique_indices": True, "mode": "fill", "fill_value": 0}
    if array.shape == lie.by_row and array.ndim > 1:  # [L, K]: by columns, which stay columns
        return array.T.at[:, touched.at].get(**found).T
    lines = array.at[touched.at].get(**found)
    return lines if lines.ndim > 1 else lines[:, None]


def write(lie: StoredRows, array: Array, touched: Touched, new: Array, old: Array) -> Array:
    """Puts `new` where `read` found `old`; rows that are not touched keep what they have."""
    new = in_touched(lie, touched, new, old)
    put = {"unique_indices": True, "mode": "drop"}
    if array.shape == lie.by_row and array.ndim > 1:
        return array.T.at[:, touched.at].set(new.T, **put).T
    return array.at[touched.at].set(new.reshape(-1, *array.shape[1:]), **put)


def in_touched(lie: StoredRows, touched: Touched, new: Array, old: Array | int) -> Array:
    """`new` of touched rows, `old` of the others, `[N, lanes]` or `[N, K]`."""
    if lie.per_line == 1:  # a line that is not touched is not written either
        return new
    rows = touched.rows if new.shape[1] == lie.per_line else lie.spread(touched.rows)
    return jnp.where(rows, new, old)


def _changes(sorted_ids: Int[Array, " N"]) -> Bool[Array, " N"]:
    """Marks the first place of each run of equal ids."""
    return jnp.concatenate([jnp.ones(1, bool), sorted_ids[1:] != sorted_ids[:-1]])
