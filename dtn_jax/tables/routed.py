"""Rows that are split over devices: to look up and to update them, each device asks their owners.

A device sends each owner the distinct rows that it asks for (`routes`). The owner answers, and gets
the rows' gradients the same way back. It sums what the devices sent of a row in the devices' order,
and updates it once. What travels grows with a device's own examples, not with the devices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from dtn_jax.shapes import Array, Int, Shaped
from dtn_jax.tables import routes
from dtn_jax.tables.routes import Round, Routes
from dtn_jax.tables.row_optimizers import Scalars
from dtn_jax.tables.stored_rows import StoredRows
from dtn_jax.tables.update_whole import WholeSums
from dtn_jax.tables.updater import Updater

AXES = ("data", "table")  # of the mesh; see parallel/mesh.py
BY_EXAMPLE, BY_ROW = PartitionSpec(AXES), PartitionSpec("table")

Ids, Rows = Int[Array, " N"], Shaped[Array, "N D"]


class Asking(NamedTuple):
    """What a device asks of which owner; it depends on ids alone, on no row.

    Attributes:
      routes: of its ids.
      now: the first round.
      received: the rows that others ask of it in the first round, as places in its own rows.
    """

    routes: Routes
    now: Round
    received: Int[Array, " M"]


@dataclasses.dataclass(frozen=True)
class Routed:
    """For rows that are split over the axis `table` of a mesh, batches over both its axes."""

    lie: StoredRows
    updater: Updater | None
    mesh: Mesh
    platform: str
    message_rows: int = 0

    @property
    def owners(self) -> int:
        return self.mesh.shape["table"]

    @property
    def mine(self) -> StoredRows:
        """What each owner holds."""
        return self.lie.split(self.owners)

    def room(self, ids: int) -> int:
        """The rows of a message, of a device that looks up so many ids."""
        return routes.room(self.lie, ids, self.owners, self.platform, self.message_rows)

    def route(self, ids: Ids) -> Asking:
        """What `look_up` and `update` need of rows."""
        return self._on_each(self._route, (BY_EXAMPLE,), BY_EXAMPLE)(ids)

    def look_up(self, table: Array, asking: Asking) -> tuple[Rows, Asking]:
        """The rows, zeros for ids out of range, and what `update` needs."""
        rows = self._on_each(self._look_up, (BY_ROW, BY_EXAMPLE), BY_EXAMPLE)(table, asking)
        return rows, asking

    def update(
        self,
        table: Array,
        slots: Any,
        asking: Asking,
        gradient: Rows,
        scalars: Scalars,
    ) -> tuple[Array, Any]:
        """Table and slots after a step of the rows asked for."""
        kept = jax.tree.map(lambda slot: BY_ROW if slot.ndim else PartitionSpec(), slots)
        given = BY_ROW, kept, BY_EXAMPLE, BY_EXAMPLE, PartitionSpec()
        run = self._on_each(self._update, given, (BY_ROW, kept))
        with jax.named_scope("update_rows"):
            return run(table, slots, asking, gradient, scalars)

    def _on_each(self, call: Callable, given: tuple, out: Any) -> Callable:
        # check_vma=False: it can't see that all devices that share a row update it alike.
        return jax.shard_map(call, mesh=self.mesh, in_specs=given, out_specs=out, check_vma=False)

    def _route(self, ids):
        each, size = self.mine.rows, self.room(len(ids))
        known = routes.make_routes(self.lie.places(ids), self.owners, each, self.platform)
        first = routes.first_round(known, size, each, AXES)
        return Asking(known, first, self._to_owners(first.asked.reshape(-1)))

    def _look_up(self, table, asking: Asking):
        each, known = self.mine.rows, asking.routes

        def answered(now: Round, received):
            answers = self._to_owners(_bits(self.mine.take(table, received)))
            return routes.taken(known, now, answers, each)

        def ask_again(carry):
            now, rows = carry
            now = routes.next_round(known, now, each, AXES)
            inside, more = answered(now, self._to_owners(now.asked.reshape(-1)))
            return now, jnp.where(inside[:, None], more, rows)

        _, rows = answered(asking.now, asking.received)
        _, rows = jax.lax.while_loop(
            lambda carry: routes.goes_on(carry[0], each), ask_again, (asking.now, rows)
        )
        return jax.lax.bitcast_convert_type(rows, table.dtype)

    def _update(self, table, slots, asking: Asking, gradient, scalars):
        mine, updater = self.mine, self.updater
        by_rank = routes.summed(asking.routes, gradient, self.platform)

        def add(carry, now: Round, ids):
            sent = self._to_owners(routes.to_send(now, by_rank))
            ids, sent = (self._of_all_copies(a) for a in (ids, sent))
            ids = scalars.moving(ids, mine.rows)
            if updater.rows:
                looked_up = mine.take(carry[0], ids)
                given = ids, looked_up, sent, scalars
                return updater.rows(mine, *carry, *given, repeats=self.mesh.size)
            sums = updater.sums(mine, ids, sent, repeats=self.mesh.size)
            return WholeSums(carry.gradient + sums.gradient, carry.touched | sums.touched)

        def add_again(state):
            now, carry = state
            now = routes.next_round(asking.routes, now, mine.rows, AXES)
            return now, add(carry, now, self._to_owners(now.asked.reshape(-1)))

        nothing = jnp.zeros(mine.shape, gradient.dtype), jnp.zeros(mine.by_row, bool)
        start = (table, slots) if updater.rows else WholeSums(*nothing)
        state = asking.now, add(start, asking.now, asking.received)
        _, carry = jax.lax.while_loop(
            lambda state: routes.goes_on(state[0], mine.rows), add_again, state
        )
        return carry if updater.rows else updater.whole(mine, table, slots, carry, scalars)

    def _to_owners(self, message: Array) -> Array:
        return routes.to_owners(message, self.owners, "table", self.platform)

    def _of_all_copies(self, received: Array) -> Array:
        """What the owners of the same rows, in all copies of the tables, have received."""
        if self.mesh.shape["data"] == 1:
            return received
        return jax.lax.all_gather(received, "data", tiled=True)


def _bits(rows: Rows) -> Rows:
    """Rows as bits. Of numbers that matrix products round to bfloat16, a TPU's compiler would make
    a copy of the whole table in bfloat16, to look them up there."""
    return jax.lax.bitcast_convert_type(rows, jnp.dtype(f"uint{8 * rows.dtype.itemsize}"))
