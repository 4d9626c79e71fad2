"""Rows that are split over devices: to look up and to update them, each device asks their owners.

A device sends each owner the distinct rows that it asks for (`routes`). The owner answers, and gets
the rows' gradients the same way back. It sums what the devices sent of a row in the devices' order,
and updates it once. What travels grows with a device's own examples, not with the devices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from dtn_jax.shapes import Array, Bool, Float, Int, Shaped
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


class Asked(NamedTuple):
    """What a device has asked in a look-up, and `counts`: its rounds, distinct rows and ids."""

    asking: Asking
    counts: Int[Array, " _"]

    def of_device(self) -> Float[Array, " _"]:
        """`counts`, the mean over devices, given those of all."""
        return jnp.mean(self.counts.reshape(-1, 3).astype(jnp.float32), axis=0)


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

    def traffic(self, counts: Sequence[float], ids: int, itemsize: int) -> dict[str, float]:
        """What a step has exchanged, for people.

        Args:
          counts: the mean of `Asked.of_device` over steps.
          ids: that a device looks up, padding counted.
          itemsize: bytes of a number in the table.

        Returns:
          `rounds`; `repeats`, the share of ids that are there more than once; `fill`, the share of
          the messages' places that have a row; `MB`, 10⁶ bytes that a device sends to others.
        """
        rounds, distinct, known = counts
        places, copies = self.owners * self.room(ids), self.mesh.shape["data"]
        others = (self.owners - 1) / self.owners
        width = self.lie.width
        sent = places * (others * (4 + width * (itemsize + 4)) + (copies - 1) * 4 * (width + 1))
        again = places * others * 4  # ids of a further round travel in the update, too
        return {
            "rounds": rounds,
            "repeats": 1 - distinct / known if known else 0.0,
            "fill": distinct / (places * rounds),
            "MB": (rounds * sent + (rounds - 1) * again) / 1e6,
        }

    def route(self, ids: Ids) -> Asking:
        """What `look_up` and `update` need of rows."""
        return self._on_each(self._route, (BY_EXAMPLE,), BY_EXAMPLE)(ids)

    def look_up(self, table: Array, asking: Asking) -> tuple[Rows, Asked]:
        """The rows, zeros for ids out of range, and what `update` needs."""
        given, made = (BY_ROW, BY_EXAMPLE), (BY_EXAMPLE, BY_EXAMPLE)
        return self._on_each(self._look_up, given, made)(table, asking)

    def update(
        self,
        table: Array,
        slots: Any,
        asked: Asked,
        gradient: Rows,
        scalars: Scalars,
        skipped: Bool[Array, ""] | None,
    ) -> tuple[Array, Any]:
        """Table and slots after a step of the rows asked for; as they were if it is skipped."""
        kept = jax.tree.map(lambda slot: BY_ROW if slot.ndim else PartitionSpec(), slots)
        everywhere = PartitionSpec()
        given = BY_ROW, kept, BY_EXAMPLE, BY_EXAMPLE, everywhere, everywhere
        run = self._on_each(self._update, given, (BY_ROW, kept))
        with jax.named_scope("update_rows"):
            return run(table, slots, asked, gradient, scalars, skipped)

    def _on_each(self, call: Callable, given: tuple, made: Any) -> Callable:
        # check_vma=False: it can't see that all devices that share a row update it alike.
        return jax.shard_map(call, mesh=self.mesh, in_specs=given, out_specs=made, check_vma=False)

    def _route(self, ids):
        each, size = self.mine.rows, self.room(len(ids))
        found = routes.make_routes(self.lie.places(ids), self.owners, each, self.platform)
        first = routes.first_round(found, size, each, AXES)
        return Asking(found, first, self._to_owners(first.asked.reshape(-1)))

    def _look_up(self, table, asking: Asking):
        each, found = self.mine.rows, asking.routes

        def answered(now: Round, received):
            answers = self._to_owners(_bits(self.mine.take(table, received)))
            return routes.taken(found, now, answers, each)

        def ask_again(carry):
            now, rows, rounds = carry
            now = routes.next_round(found, now, each, AXES)
            inside, more = answered(now, self._to_owners(now.asked.reshape(-1)))
            return now, jnp.where(inside[:, None], more, rows), rounds + 1

        _, rows = answered(asking.now, asking.received)
        start = asking.now, rows, jnp.int32(1)
        _, rows, rounds = jax.lax.while_loop(
            lambda carry: routes.goes_on(carry[0], each), ask_again, start
        )
        distinct = found.of_owner[-1]
        counts = jnp.stack([rounds, distinct, found.begins[distinct]])
        return jax.lax.bitcast_convert_type(rows, table.dtype), Asked(asking, counts)

    def _update(self, table, slots, asked: Asked, gradient, scalars, skipped):
        mine, updater, asking = self.mine, self.updater, asked.asking
        by_rank = routes.summed(asking.routes, gradient, self.platform)

        def add(carry, now: Round, ids):
            sent = self._to_owners(routes.to_send(now, by_rank))
            ids, sent = (self._of_all_copies(a) for a in (ids, sent))
            if skipped is not None:
                ids = jnp.where(skipped, mine.rows, ids)
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
