"""How GPUs and TPUs update rows: one sort of (row, place), and no scatter of repeated rows.

The batch's ids are sorted with their places, so that equal rows, and the rows of one line, stand
together in the order of the data. Gradients are summed there (`run_sums`), and at the last place of
each line's run the line is read, stepped and written, once. The other places read zeros and write
nothing. So sums do not depend on timing, and no hint says that places are sorted: TPU compilers
take such a write through the whole table.

Rows out of range, of which messages between devices have some, are sorted last. A device works
through the others in windows.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dtn_jax.shapes import Array, Bool, Float, Int, Shaped, UInt
from dtn_jax.tables import run_sums
from dtn_jax.tables.rounding import rounded
from dtn_jax.tables.routes import changes
from dtn_jax.tables.row_optimizers import RowOptimizer, Scalars, Slots
from dtn_jax.tables.stored_rows import SHORT, StoredRows, numbers
from dtn_jax.tables.update_whole import WholeSums

PASSED_OVER = 40  # lines for each written up to which it is: 33 by libtpu 0.0.50, 8 by 0.0.42
# Lines of numbers by row `[L, K]` that fit a TPU's on-chip memory with K padded to 128. A compiler
# would pad them there to move them by lines or columns; number by number it does not.
ON_CHIP = 2**18


class Places(NamedTuple):
    """Sorted places of a batch; rows that do not lie here stand last.

    Attributes:
      ids: where the row at each place stands in the table.
      source: where it stands in the batch.
      starts, ends: marks the first and the last place of each line.
      new_row: marks the first place of each row.
    """

    ids: Int[Array, " N"]
    source: Int[Array, " N"]
    starts: Bool[Array, " N"]
    ends: Bool[Array, " N"]
    new_row: Bool[Array, " N"]


class Sums(NamedTuple):
    """The sums of a line up to a place: its gradient, and a bit for each row that is touched."""

    gradient: Float[Array, "*N lanes"]
    bits: UInt[Array, "*N"]


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


def window_of(lie: StoredRows, ids: int, itemsize: int = 4) -> int:
    """How many places a window has.

    A TPU's compiler passes over a whole table to write many of its lines, the sooner the fewer
    bytes a number has. A window is short enough to prevent that, unless the table is short.
    """
    if lie.per_line == 1 or lie.rows <= SHORT * ids:
        return ids
    return min(ids, max(run_sums.BLOCK, lie.lines * itemsize // (4 * (PASSED_OVER + 1))))


def in_order(lie: StoredRows, ids: Int[Array, " N"], window: int) -> Places:
    """Sorts a batch's ids by where they stand, and pads them to whole windows."""
    n = len(ids)
    ids, source = jax.lax.sort((lie.places(ids), jnp.arange(n, dtype=jnp.int32)), num_keys=2)
    ids = jnp.pad(ids, (0, -n % window), constant_values=lie.rows)
    line, _ = lie.where(ids)
    starts = changes(line)
    ends = jnp.concatenate([starts[1:], jnp.ones(1, bool)])
    return Places(ids, jnp.pad(source, (0, -n % window)), starts, ends, changes(ids))


def touched_lines(
    lie: StoredRows, places: Places, gradient: Float[Array, "M D"], before: Sums | None = None
) -> tuple[Touched, Sums]:
    """Sums the gradients of equal rows, and gathers the rows of a line.

    Args:
      places: a window of them.
      gradient: of the whole batch.
      before: the sums of a line that began in an earlier window.

    Returns:
      The lines that end here, and the sums of the last one, which may go on.
    """
    k, place = lie.per_line, jnp.arange(len(places.ids), dtype=jnp.int32)
    line, in_line = lie.where(places.ids)
    summed = run_sums.run_sums(places.starts, lie.alone(gradient[places.source], in_line))
    bits = jnp.where(places.new_row, jnp.uint32(1) << in_line.astype(jnp.uint32), 0)
    bits = run_sums.run_sums(places.starts, bits) if k > 1 else jnp.ones_like(bits)
    if before is not None:
        goes_on = jax.lax.cummax(places.starts.astype(jnp.int32)) == 0
        summed = summed + jnp.where(goes_on[:, None], before.gradient[None], 0)
        bits = jnp.where(goes_on, bits | before.bits, bits)
    at = jnp.where(places.ends & (line < lie.lines), line, lie.lines + place)
    rows = (bits[:, None] >> jnp.arange(k, dtype=jnp.uint32)[None]) & 1
    return Touched(at, summed, rows.astype(bool)), Sums(summed[-1], bits[-1])


def sums_by_row(
    ids: Int[Array, " N"], gradient: Float[Array, "N D"], table_rows: int
) -> Float[Array, "N D"]:
    """The sums of gradients of equal ids, each at one place; zeros at the others."""
    lie = StoredRows(table_rows, gradient.shape[1])
    touched, _ = touched_lines(lie, in_order(lie, ids, len(ids)), gradient)
    return jnp.where((touched.at < table_rows)[:, None], touched.gradient, 0)


def update(
    optimizer: RowOptimizer,
    lie: StoredRows,
    table: Shaped[Array, "L lanes"],
    slots: Slots,
    ids: Int[Array, " N"],
    gradient: Float[Array, "N D"],
    scalars: Scalars,
    repeats: int = 0,
) -> tuple[Array, Slots]:
    """Applies one step to the rows `ids` (repeats allowed, out of range dropped).

    Args:
      repeats: how often a row may be among `ids`, which may stand in messages with places between
        them: the bits of its sum are then the same wherever it stands. 0 is any number, of which
        the places decide how sums are bracketed.
    """
    window = window_of(lie, len(ids), table.dtype.itemsize)
    places, gradient = _summed(in_order(lie, ids, window), gradient, repeats)
    if window == len(ids):
        touched, _ = touched_lines(lie, places, gradient)
        return stepped(optimizer, lie, table, slots, touched, scalars)

    def of_window(i, carry):
        table, slots, before = carry
        here = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, i * window, window), places)
        touched, after = touched_lines(lie, here, gradient, before)
        return *stepped(optimizer, lie, table, slots, touched, scalars), after

    windows = (jnp.sum(ids < lie.rows) + window - 1) // window
    nothing = Sums(jnp.zeros(lie.lanes, gradient.dtype), jnp.uint32(0))
    table, slots, _ = jax.lax.fori_loop(0, windows, of_window, (table, slots, nothing))
    return table, slots


def _summed(
    places: Places, gradient: Float[Array, "M D"], repeats: int
) -> tuple[Places, Float[Array, "_ D"]]:
    """With `repeats`, each row's gradients are summed before: its last place has the sum, the
    others have zeros, which no sum of lines notices."""
    if not repeats:
        return places, gradient
    sums = run_sums.rank_sums(places.new_row, gradient[places.source], repeats)
    last = jnp.concatenate([places.new_row[1:], jnp.ones(1, bool)])
    place = jnp.arange(len(sums), dtype=jnp.int32)
    return places._replace(source=place), jnp.where(last[:, None], sums, 0)


def stepped(
    optimizer: RowOptimizer,
    lie: StoredRows,
    table: Array,
    slots: Slots,
    touched: Touched,
    scalars: Scalars,
) -> tuple[Array, Slots]:
    """Table and slots after a step of the touched rows."""
    dtype = touched.gradient.dtype
    old_lines = read(lie, table, touched)
    lines = numbers(old_lines).astype(dtype)
    old_slots = jax.tree.map(lambda slot: read(lie, slot, touched), slots)
    pulled = touched.gradient + in_touched(lie, touched, scalars.l2 * lines, 0)
    delta, new_slots = optimizer.step(lines, old_slots, pulled, scalars.rate.astype(dtype), lie)
    new_lines = rounded(lines + delta, lines, scalars.step, table.dtype, lie)
    table = write(lie, table, touched, new_lines, old_lines)
    slots = jax.tree.map(
        lambda slot, new, old: write(lie, slot, touched, new, old), slots, new_slots, old_slots
    )
    return table, slots


def sums(
    lie: StoredRows, ids: Int[Array, " N"], gradient: Float[Array, "N D"], repeats: int = 0
) -> WholeSums:
    """The sums of the gradients of every row; `repeats` as in `update`."""
    places, gradient = _summed(in_order(lie, ids, len(ids)), gradient, repeats)
    touched, _ = touched_lines(lie, places, gradient)
    put = {"unique_indices": True, "mode": "drop"}
    rows = jnp.zeros((lie.lines, lie.per_line), bool).at[touched.at].set(touched.rows, **put)
    zeros = jnp.zeros(lie.shape, gradient.dtype)
    return WholeSums(zeros.at[touched.at].set(touched.gradient, **put), rows.reshape(lie.by_row))


def read(lie: StoredRows, array: Array, touched: Touched) -> Array:
    """Of an array like the table the touched lines `[N, lanes]`; of one with a number for each row
    `[N, K]`."""
    hints = {"unique_indices": True, "mode": "fill", "fill_value": 0}
    if array.shape[1:] != (lie.per_line,):
        lines = array.at[touched.at].get(**hints)
        return lines if lines.ndim > 1 else lines[:, None]
    if len(array) <= ON_CHIP:
        return array.at[_each_number(lie, touched)].get(**hints)
    return array.T.at[:, touched.at].get(**hints).T


def write(lie: StoredRows, array: Array, touched: Touched, new: Array, old: Array) -> Array:
    """Puts `new` where `read` found `old`; rows that are not touched keep what they have."""
    new = in_touched(lie, touched, new, old)
    put = {"unique_indices": True, "mode": "drop"}
    if array.shape[1:] != (lie.per_line,):
        return array.at[touched.at].set(new.reshape(-1, *array.shape[1:]), **put)
    if len(array) <= ON_CHIP:
        return array.at[_each_number(lie, touched)].set(new, **put)
    return array.T.at[:, touched.at].set(new.T, **put).T


def _each_number(lie: StoredRows, touched: Touched) -> tuple[Array, Array]:
    """Where the numbers of touched lines' rows are in `[L, K]`."""
    return touched.at[:, None], jnp.arange(lie.per_line, dtype=jnp.int32)[None]


def in_touched(lie: StoredRows, touched: Touched, new: Array, old: Array | int) -> Array:
    """`new` of touched rows, `old` of the others, `[N, lanes]` or `[N, K]`."""
    if lie.per_line == 1:  # a line that is not touched is not written either
        return new
    rows = touched.rows if new.shape[1] == lie.per_line else lie.spread(touched.rows)
    return jnp.where(rows, new, old)
