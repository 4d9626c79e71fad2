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
from jaxtyping import Array, Float, Int

from dtn_jax import batch_axis
from dtn_jax.row_optimizers import Slots

Update = Callable[..., tuple[Array, Slots]]  # as row_optimizers.update, without the optimizer


class Exchange(NamedTuple):
    """`look_up(table, ids [N]) -> rows [N, D]`, zeros for ids out of range; and `update`."""

    look_up: Callable[[Float[Array, "V D"], Int[Array, " N"]], Float[Array, "N D"]]
    update: Update


def take(table: Float[Array, "V D"], ids: Int[Array, " N"]) -> Float[Array, "N D"]:
    """Rows of a table that lies here; those out of range are zeros."""
    return table.at[ids].get(mode="fill", fill_value=0)


def replicated(update: Update) -> Exchange:
    """For one device, and for pmap, where every device has all rows."""

    def everywhere(table, slots, ids, looked_up, gradient, rate, l2):
        ids, looked_up, gradient = map(batch_axis.gathered, (ids, looked_up, gradient))
        return update(table, slots, ids, looked_up, gradient, rate, l2)

    return Exchange(take, everywhere)


def sharded(update: Update, mesh: Mesh) -> Exchange:
    """For tables split by rows over the mesh's axis `table`, batches over `data` and `table`."""
    by_example, by_row = PartitionSpec(("data", "table")), PartitionSpec("table")

    def mine(table, ids):
        """Ids as places in this device's rows; those of other devices are out of range."""
        first = jax.lax.axis_index("table") * len(table)
        here = (ids >= first) & (ids < first + len(table))
        return jnp.where(here, ids - first, len(table))

    def look_up(table, ids):
        asked = jax.lax.all_gather(ids, "table", tiled=True)
        found = take(table, mine(table, asked))
        return jax.lax.psum_scatter(found, "table", scatter_dimension=0, tiled=True)

    def update_mine(table, slots, ids, gradient, rate, l2):
        ids = mine(table, jax.lax.all_gather(ids, ("data", "table"), tiled=True))
        gradient = jax.lax.all_gather(gradient, ("data", "table"), tiled=True)
        return update(table, slots, ids, take(table, ids), gradient, rate, l2)

    def sharded_update(table, slots, ids, looked_up, gradient, rate, l2):
        kept = jax.tree.map(lambda slot: by_row if slot.ndim else PartitionSpec(), slots)
        run = jax.shard_map(
            update_mine,
            mesh=mesh,
            in_specs=(by_row, kept, by_example, by_example, PartitionSpec(), PartitionSpec()),
            out_specs=(by_row, kept),
            check_vma=False,  # it cannot see that what was gathered is the same everywhere
        )
        return run(table, slots, ids, gradient, rate, l2)

    run = jax.shard_map(
        look_up, mesh=mesh, in_specs=(by_row, by_example), out_specs=by_example, check_vma=False
    )
    return Exchange(run, sharded_update)
