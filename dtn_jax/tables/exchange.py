"""How rows travel between the devices that hold the tables and those that look rows up.

On one device nothing travels. With `sharded` tables every device of the table axis holds V / n
rows: a look-up gathers the ids that its devices ask for, each answers for its own rows, and the
answers, zeros but for one device, are summed and scattered back; an update gathers ids and
gradients everywhere, and each device updates its own rows. With `replicated` tables every device
makes the same update. No table ever travels, and no look-up is differentiated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Int, Shaped

from dtn_jax.input import batch_axis
from dtn_jax.tables.row_optimizers import Slots

AXES = ("data", "table")  # of the mesh; see parallel/mesh.py
BY_EXAMPLE, BY_ROW = PartitionSpec(AXES), PartitionSpec("table")

LookUp = Callable[[Array, Array], Array]
Update = Callable[..., tuple[Array, Slots]]  # as row_optimizers.update, without the optimizer


class Exchange(NamedTuple):
    """`look_up(table, ids [N]) -> rows [N, D]`, zeros for ids out of range; and `update`."""

    look_up: LookUp
    update: Update


def take(table: Shaped[Array, "V D"], ids: Int[Array, " N"]) -> Shaped[Array, "N D"]:
    """Rows of a table that lies here; those out of range are zeros."""
    return table.at[ids].get(mode="fill", fill_value=0)


def replicated(update: Update) -> Exchange:
    """For one device, and for pmap, where every device has all rows."""

    def everywhere(table, slots, ids, looked_up, gradient, scalars):
        ids, looked_up, gradient = map(batch_axis.gathered, (ids, looked_up, gradient))
        return update(table, slots, ids, looked_up, gradient, scalars)

    return Exchange(take, everywhere)


def sharded(update: Update, mesh: Mesh) -> Exchange:
    """For tables split by rows over the mesh's axis `table`, batches over `data` and `table`."""

    def update_mine(table, slots, ids, gradient, scalars):
        ids = _mine(table, jax.lax.all_gather(ids, AXES, tiled=True))
        gradient = jax.lax.all_gather(gradient, AXES, tiled=True)
        return update(table, slots, ids, take(table, ids), gradient, scalars)

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

    return Exchange(sharded_look_up(mesh), sharded_update)


def sharded_look_up(mesh: Mesh) -> LookUp:
    """The look-up of `sharded`."""

    def look_up(table, ids):
        asked = jax.lax.all_gather(ids, "table", tiled=True)
        found = take(table, _mine(table, asked))
        return jax.lax.psum_scatter(found, "table", scatter_dimension=0, tiled=True)

    return jax.shard_map(
        look_up, mesh=mesh, in_specs=(BY_ROW, BY_EXAMPLE), out_specs=BY_EXAMPLE, check_vma=False
    )


def _mine(table: Shaped[Array, "V D"], ids: Int[Array, " N"]) -> Int[Array, " N"]:
    """Ids as places in this device's rows; those of other devices are out of range."""
    first = jax.lax.axis_index("table") * len(table)
    here = (ids >= first) & (ids < first + len(table))
    return jnp.where(here, ids - first, len(table))
