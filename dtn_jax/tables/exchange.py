"""How rows travel between the devices that hold the tables and those that look rows up.

On one device nothing travels. With sharded tables every device of the table axis holds V / n
rows: a look-up gathers the ids that its devices ask for, each answers for its own rows, and the
answers, zeros but for one device, are summed and scattered back; an update gathers ids and
gradients everywhere, and each device updates its own rows. With replicated tables every device
makes the same update. No table ever travels, and no look-up is differentiated.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Int

from dtn_jax.input import batch_axis
from dtn_jax.tables.plan import TablePlan
from dtn_jax.tables.row_optimizers import Slots
from dtn_jax.tables.stored_rows import StoredRows

AXES = ("data", "table")  # of the mesh; see parallel/mesh.py
BY_EXAMPLE, BY_ROW = PartitionSpec(AXES), PartitionSpec("table")

LookUp = Callable[[Array, Array], Array]
Update = Callable[..., tuple[Array, Slots]]


def look_ups(plan: TablePlan, mesh: Mesh | None = None) -> dict[str, LookUp]:
    """`(table, ids [N]) -> rows [N, D]`, zeros for ids out of range, for each packed array.

    Tables are split by rows over the axis `table` of `mesh`, and batches over both its axes;
    without one every device has all rows.
    """
    if mesh is None:
        return {name: lie.take for name, lie in plan.arrays.items()}
    return {name: _sharded_look_up(lie, mesh) for name, lie in plan.arrays.items()}


def updates(plan: TablePlan, update: Update, mesh: Mesh | None = None) -> dict[str, Update]:
    """`(table, slots, ids, looked_up, gradient, scalars) -> (table, slots)` for each packed array.

    `update` is that of `optimizers.table_updater`; `mesh` is as in `look_ups`.
    """
    if mesh is None:
        return {name: _replicated_update(lie, update) for name, lie in plan.arrays.items()}
    return {name: _sharded_update(lie, update, mesh) for name, lie in plan.arrays.items()}


def _replicated_update(lie: StoredRows, update: Update) -> Update:
    """For one device, and for pmap, where every device has all rows."""

    @jax.named_scope("update_rows")
    def everywhere(table, slots, ids, looked_up, gradient, scalars):
        ids, looked_up, gradient = map(batch_axis.gathered, (ids, looked_up, gradient))
        return update(lie, table, slots, ids, looked_up, gradient, scalars)

    return everywhere


def _sharded_update(lie: StoredRows, update: Update, mesh: Mesh) -> Update:
    owners = mesh.shape["table"]
    mine = lie.split(owners)

    @jax.named_scope("update_rows")
    def update_mine(table, slots, ids, gradient, scalars):
        ids = _mine(mine, jax.lax.all_gather(ids, AXES, tiled=True))
        gradient = jax.lax.all_gather(gradient, AXES, tiled=True)
        looked_up = mine.take(table, ids)
        return update(mine, table, slots, ids, looked_up, gradient, scalars, owners)

    def sharded_update(table, slots, ids, looked_up, gradient, scalars):
        kept = jax.tree.map(lambda slot: BY_ROW if slot.ndim else PartitionSpec(), slots)
        run = jax.shard_map(
            update_mine,
            mesh=mesh,
            in_specs=(BY_ROW, kept, BY_EXAMPLE, BY_EXAMPLE, PartitionSpec()),
            out_specs=(BY_ROW, kept),
            check_vma=False,  # it cannot see that what was gathered is the same everywhere
        )
        return run(table, slots, ids, gradient, scalars)

    return sharded_update


def _sharded_look_up(lie: StoredRows, mesh: Mesh) -> LookUp:
    mine = lie.split(mesh.shape["table"])

    def look_up(table, ids):
        asked = jax.lax.all_gather(ids, "table", tiled=True)
        found = mine.take(table, _mine(mine, asked))
        return jax.lax.psum_scatter(found, "table", scatter_dimension=0, tiled=True)

    return jax.shard_map(
        look_up, mesh=mesh, in_specs=(BY_ROW, BY_EXAMPLE), out_specs=BY_EXAMPLE, check_vma=False
    )


def _mine(mine: StoredRows, ids: Int[Array, " N"]) -> Int[Array, " N"]:
    """Ids as places in this device's rows; those of other devices are out of range."""
    first = jax.lax.axis_index("table") * mine.rows
    here = (ids >= first) & (ids < first + mine.rows)
    return jnp.where(here, ids - first, mine.rows)
