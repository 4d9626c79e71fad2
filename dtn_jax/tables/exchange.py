"""How rows travel between the devices that hold the tables and those that look rows up.

On one device nothing travels. Rows that are split over devices travel to and from their owners.
Where every device has all rows, every device makes the same update. No table ever travels, and no
look-up is differentiated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from dtn_jax.data.epochs import batch_axis
from dtn_jax.shapes import Array, Int, Shaped
from dtn_jax.tables.plan import TablePlan
from dtn_jax.tables.routed import AXES, BY_EXAMPLE, Routed
from dtn_jax.tables.row_optimizers import Scalars
from dtn_jax.tables.stored_rows import StoredRows, computed_once
from dtn_jax.tables.update_whole import WholeSums
from dtn_jax.tables.updater import Updater

ALL = PartitionSpec()

LookUp = Callable[[Array, Array], Array]
Ids, Rows = Int[Array, " N"], Shaped[Array, "N D"]


@dataclasses.dataclass(frozen=True)
class Local:
    """For one device, and for pmap, where every device has all rows."""

    lie: StoredRows
    updater: Updater | None

    def route(self, ids: Ids) -> tuple[Ids, Ids]:
        """What `look_up` and `update` need of rows: themselves, and where they stand.

        An update computes places anew: given these alone, a CPU's steps took 8 to 25 % longer.
        """
        return ids, self.lie.places(ids)

    def look_up(self, table: Array, routed: tuple[Ids, Ids]) -> tuple[Rows, tuple[Ids, Rows]]:
        """The rows, zeros for ids out of range, and what `update` needs."""
        ids, places = routed
        rows = self.lie.take(table, places)
        return rows, (ids, rows)

    def update(
        self,
        table: Array,
        slots: Any,
        requests: tuple[Ids, Rows],
        gradient: Rows,
        scalars: Scalars,
    ) -> tuple[Array, Any]:
        """Table and slots after a step of the rows asked for."""
        ids, looked_up = requests
        ids = scalars.moving(ids, self.lie.rows)
        with jax.named_scope("update_rows"):
            ids, looked_up, gradient = map(batch_axis.gathered, (ids, looked_up, gradient))
            updater = self.updater
            if updater.rows:
                return updater.rows(self.lie, table, slots, ids, looked_up, gradient, scalars)
            sums = updater.sums(self.lie, ids, gradient)
            return updater.whole(self.lie, table, slots, sums, scalars)


@dataclasses.dataclass(frozen=True)
class Everywhere:
    """For rows that every device of a mesh has, batches split over them.

    Each device sums its own gradients over the whole table; the sums of all, and the marks of the
    rows that they touch, are added up, and every device makes the same step, to the bit.
    """

    lie: StoredRows
    updater: Updater | None
    mesh: Mesh

    def route(self, ids: Ids) -> tuple[Ids, Ids]:
        """As `Local.route`."""
        return ids, self.lie.places(ids)

    def look_up(self, table: Array, routed: tuple[Ids, Ids]) -> tuple[Rows, Ids]:
        """As `Local.look_up`."""
        ids, places = routed
        return self._on_each(self.lie.take, (ALL, BY_EXAMPLE), BY_EXAMPLE)(table, places), ids

    def update(
        self,
        table: Array,
        slots: Any,
        requests: Ids,
        gradient: Rows,
        scalars: Scalars,
    ) -> tuple[Array, Any]:
        """As `Local.update`."""
        lie = self.lie

        def update(table, slots, ids, gradient, scalars):
            sums = self.updater.sums(lie, scalars.moving(ids, lie.rows), gradient)
            by_place = sums.touched.reshape(lie.lines, lie.per_line).T  # TPUs pad the last axis
            touched = jax.lax.psum(by_place.astype(jnp.int32), AXES).T.reshape(lie.by_row) > 0
            sums = WholeSums(jax.lax.psum(sums.gradient, AXES), touched)
            return self.updater.whole(lie, table, slots, sums, scalars)

        with jax.named_scope("update_rows"):
            given = (ALL, ALL, BY_EXAMPLE, BY_EXAMPLE, ALL)
            run = self._on_each(update, given, (ALL, ALL))
            return run(table, slots, requests, gradient, scalars)

    def _on_each(self, call: Callable, given: tuple, out: Any) -> Callable:
        # check_vma=False: it can't see that all devices make the same step.
        return jax.shard_map(call, mesh=self.mesh, in_specs=given, out_specs=out, check_vma=False)


Exchange = Local | Routed | Everywhere


def exchanges(
    plan: TablePlan, updater: Updater | None, mesh: Mesh | None = None, message_rows: int = 0
) -> dict[str, Exchange]:
    """The exchange of each packed array.

    Args:
      updater: None for look-ups alone.
      mesh: tables are split by rows over its axis `table`, but those that every device has, and
        batches over both its axes; without one every device has all rows, and nothing travels.
      message_rows: see `routes.room`.
    """
    if mesh is None:
        return {name: Local(lie, updater) for name, lie in plan.arrays.items()}
    return {
        name: Everywhere(lie, updater, mesh)
        if name in plan.everywhere
        else Routed(lie, updater, mesh, plan.platform, message_rows)
        for name, lie in plan.arrays.items()
    }


def look_ups(plan: TablePlan, mesh: Mesh | None = None) -> dict[str, LookUp]:
    """`(table, ids [N]) -> rows [N, D]` for each packed array; `mesh` is as in `exchanges`."""

    def rows_alone(exchange: Exchange) -> LookUp:
        def look_up(table: Array, ids: Array) -> Array:
            routed = exchange.route(ids)
            if not isinstance(exchange, Routed):
                routed = ids, computed_once(routed[1], plan.platform)
            return exchange.look_up(table, routed)[0]

        return look_up

    return {name: rows_alone(one) for name, one in exchanges(plan, None, mesh).items()}
