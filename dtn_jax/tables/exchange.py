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
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Int, Shaped

from dtn_jax.input import batch_axis
from dtn_jax.tables.plan import TablePlan
from dtn_jax.tables.routed import Routed
from dtn_jax.tables.row_optimizers import Scalars
from dtn_jax.tables.stored_rows import StoredRows
from dtn_jax.tables.updater import Updater

LookUp = Callable[[Array, Array], Array]
Ids, Rows = Int[Array, " N"], Shaped[Array, "N D"]


@dataclasses.dataclass(frozen=True)
class Local:
    """For one device, and for pmap, where every device has all rows."""

    lie: StoredRows
    updater: Updater | None

    def look_up(self, table: Array, ids: Ids) -> tuple[Rows, Ids]:
        """The rows, zeros for ids out of range, and what `update` needs of the ids."""
        return self.lie.take(table, ids), ids

    def update(
        self,
        table: Array,
        slots: Any,
        asked: Ids,
        looked_up: Rows,
        gradient: Rows,
        scalars: Scalars,
        skipped: Bool[Array, ""] | None,
    ) -> tuple[Array, Any]:
        """Table and slots after a step of the rows asked for; as they were if it is skipped."""
        ids = asked if skipped is None else jnp.where(skipped, self.lie.rows, asked)
        with jax.named_scope("update_rows"):
            ids, looked_up, gradient = map(batch_axis.gathered, (ids, looked_up, gradient))
            updater = self.updater
            if updater.rows:
                return updater.rows(self.lie, table, slots, ids, looked_up, gradient, scalars)
            sums = updater.sums(self.lie, ids, gradient)
            return updater.whole(self.lie, table, slots, sums, scalars)


Exchange = Local | Routed


def exchanges(
    plan: TablePlan, updater: Updater | None, mesh: Mesh | None = None, message_rows: int = 0
) -> dict[str, Exchange]:
    """The exchange of each packed array.

    Args:
      updater: None for look-ups alone.
      mesh: tables are split by rows over its axis `table`, and batches over both its axes; without
        one every device has all rows.
      message_rows: see `routes.room`.
    """
    if mesh is None:
        return {name: Local(lie, updater) for name, lie in plan.arrays.items()}
    return {
        name: Routed(lie, updater, mesh, plan.platform, message_rows)
        for name, lie in plan.arrays.items()
    }


def look_ups(plan: TablePlan, mesh: Mesh | None = None) -> dict[str, LookUp]:
    """`(table, ids [N]) -> rows [N, D]` for each packed array; `mesh` is as in `exchanges`."""

    def rows_alone(exchange: Exchange) -> LookUp:
        return lambda table, ids: exchange.look_up(table, ids)[0]

    return {name: rows_alone(found) for name, found in exchanges(plan, None, mesh).items()}
