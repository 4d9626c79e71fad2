"""Which of its rows a device asks of which owner, and in which round.

K owners hold V / K rows each, one range after another. A device sorts its ids once, which removes
what repeats and groups the rest by owner. A message to each owner has room for C rows. Where one
is too small, more rounds follow. A round covers an interval of each owner's rows, whose end is the
smallest row, over all devices, that finds no room any more: all that is said of a row, by whichever
device, is said in one round.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dtn_jax.shapes import Array, Bool, Float, Int, Shaped
from dtn_jax.tables.run_sums import run_sums
from dtn_jax.tables.stored_rows import LANES, StoredRows

SPREAD = 6  # standard deviations of a message's rows for which there is room


class Routes(NamedTuple):
    """A device's N ids, sorted.

    Attributes:
      ids: as they were given.
      rank: of each among the distinct ones, in ascending order.
      source: the places of the ids, sorted by (id, place); None on CPUs.
      begins: where in that order the ids of a rank begin; N from the last rank on.
      rows: the row of each rank, in ascending order; the largest int32 from the last rank on.
      of_owner: the rank of each owner's first row, and the number of ranks that are rows.
    """

    ids: Int[Array, " N"]
    rank: Int[Array, " N"]
    source: Int[Array, " N"] | None
    begins: Int[Array, " _"]
    rows: Int[Array, " N"]
    of_owner: Int[Array, " _"]


class Round(NamedTuple):
    """What a device asks in a round.

    Attributes:
      low, end: the first row of each owner's interval, and the one after its last; alike on all
        devices.
      first: the rank of the first row in each owner's message.
      ranks: of all rows in a message; of a place without one, N.
      asked: those rows, counted from the owner's first; of a place without one, the owner's rows.
    """

    low: Int[Array, " K"]
    end: Int[Array, " K"]
    first: Int[Array, " K"]
    ranks: Int[Array, "K C"]
    asked: Int[Array, "K C"]


def room(lie: StoredRows, ids: int, owners: int, platform: str, capacity: int = 0) -> int:
    """C, the rows of a message, of a device that has so many ids.

    Of `ids` distinct rows, spread evenly, m = ids / owners are one owner's, and more than
    m + 6 √m about once in 10⁹ messages. A capacity that is given stands instead. On TPUs the rows
    of a message fill whole lines.
    """
    mean = ids / owners
    rows = capacity or math.ceil(mean + SPREAD * math.sqrt(mean))
    rows = max(1, min(rows, ids, lie.rows // owners))
    whole = LANES // math.gcd(LANES, lie.width) if platform == "tpu" else 1
    return -(-rows // whole) * whole


def make_routes(ids: Int[Array, " N"], owners: int, each: int, platform: str) -> Routes:
    """Sorts a device's ids, of `owners` that hold `each` rows; those out of range go nowhere."""
    n = len(ids)
    place = jnp.arange(n, dtype=jnp.int32)
    if platform == "cpu":  # one key and a search: there 4 times as fast as two keys
        ordered, source = jnp.sort(ids), None
    else:
        ordered, source = jax.lax.sort((ids, place), num_keys=2)
    new = changes(ordered)
    rank = jnp.cumsum(new, dtype=jnp.int32) - 1
    kept = {"unique_indices": True, "mode": "drop"}
    at = jnp.where(new, rank, n + 1 + place)
    begins = jnp.full(n + 1, n, jnp.int32).at[at].set(place, **kept)
    none = jnp.iinfo(jnp.int32).max
    rows = jnp.where(begins[:n] < n, ordered[jnp.minimum(begins[:n], n - 1)], none)
    at = jnp.searchsorted(ordered, jnp.arange(owners + 1, dtype=jnp.int32) * each)
    of_owner = jnp.where(at < n, rank[jnp.minimum(at, n - 1)], rank[-1] + 1)
    if source is None:
        rank = jnp.searchsorted(rows, ids).astype(jnp.int32)
    else:
        rank = jnp.zeros(n, jnp.int32).at[source].set(rank, **kept)
    return Routes(ids, rank, source, begins, rows, of_owner)


def first_round(routes: Routes, size: int, each: int, axes) -> Round:
    """The first round of devices that share `axes`; a message has room for `size` rows."""
    owners = len(routes.of_owner) - 1
    low = jnp.arange(owners, dtype=jnp.int32) * each
    return _round(routes, low, routes.of_owner[:-1], size, each, axes)


def next_round(routes: Routes, before: Round, each: int, axes) -> Round:
    """The round after another one."""
    sent = jnp.sum(before.ranks < len(routes.ids), axis=1, dtype=jnp.int32)
    size = before.ranks.shape[1]
    return _round(routes, before.end, before.first + sent, size, each, axes)


def _round(routes: Routes, low, first, size: int, each: int, axes) -> Round:
    n, owners = len(routes.ids), len(low)
    own = jnp.arange(owners, dtype=jnp.int32)[:, None] * each  # an owner's first row
    ranks = first[:, None] + jnp.arange(size + 1, dtype=jnp.int32)[None]
    pending = ranks < routes.of_owner[1:, None]
    rows = jnp.where(pending, routes.rows[jnp.minimum(ranks, n - 1)], own + each)
    end = jax.lax.pmin(rows[:, size], axes)
    here = pending[:, :size] & (rows[:, :size] < end[:, None])
    ranks, asked = (jnp.where(here, a[:, :size], b) for a, b in ((ranks, n), (rows - own, each)))
    return Round(low, end, first, ranks, asked)


def goes_on(done: Round, each: int) -> Bool[Array, ""]:
    """Whether rows wait for another round, on any device."""
    limits = jnp.arange(1, len(done.end) + 1, dtype=jnp.int32) * each
    return jnp.any(done.end < limits)


def taken(
    routes: Routes, now: Round, answers: Shaped[Array, "M D"], each: int
) -> tuple[Bool[Array, " N"], Shaped[Array, "N D"]]:
    """Which ids a round has answered, and their rows; zeros for the others."""
    owners, size = now.ranks.shape
    owner = jnp.minimum(jax.lax.div(routes.ids, jnp.int32(each)), owners - 1)
    inside = (routes.ids >= now.low[owner]) & (routes.ids < now.end[owner])
    at = jnp.where(inside, owner * size + routes.rank - now.first[owner], owners * size)
    return inside, answers.at[at].get(mode="fill", fill_value=0)


def summed(routes: Routes, gradient: Float[Array, "N D"], platform: str) -> Float[Array, "N D"]:
    """The sums of the gradients of equal ids, by rank, added in the order of the data."""
    n = len(gradient)
    if platform == "cpu":
        return jax.ops.segment_sum(gradient, routes.rank, n)
    sums = run_sums(changes(routes.rank[routes.source]), gradient[routes.source])
    return sums[jnp.maximum(routes.begins[1:] - 1, 0)]


def to_send(now: Round, sums: Float[Array, "N D"]) -> Float[Array, "M D"]:
    """The rows' sums as they lie in a round's messages."""
    return sums.at[now.ranks.reshape(-1)].get(mode="fill", fill_value=0)


def to_owners(message: Shaped[Array, "M ..."], owners: int, axis: str, platform: str) -> Array:
    """Messages `[owners · C, ...]` to their owners, or back: what the others sent, in their order.

    Between TPUs rows travel in whole lines, which their compiler does not pad.
    """
    lines = message
    if platform == "tpu" and message.ndim > 1:
        lines = message.reshape(owners, -1, LANES)
    else:
        lines = message.reshape(owners, -1, *message.shape[1:])
    return jax.lax.all_to_all(lines, axis, 0, 0, tiled=True).reshape(message.shape)


def changes(ordered: Int[Array, " N"]) -> Bool[Array, " N"]:
    """Marks the first place of each run of equal ids."""
    return jnp.concatenate([jnp.ones(1, bool), ordered[1:] != ordered[:-1]])
