"""Optimizers for tables: what they keep for each row, and how a row that a batch uses moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from dtn_jax.shapes import Array, Bool, Float, Int
from dtn_jax.tables.stored_rows import StoredRows

Slots = dict[str, Array]


class RowOptimizer(NamedTuple):
    """`init(table, lie) -> slots`; `step(lines, slots, gradient, rate, lie) -> (delta, slots)`.

    Slots are arrays like the table, or have a number for each row (`lie.by_row`). `step` sees the
    lines that a batch touches, `[N, lanes]`, and of their slots `[N, lanes]` or `[N, K]`, K rows to
    a line; `delta` is added to the lines. What it says of rows that the batch does not touch is
    dropped.
    """

    init: Callable[[Float[Array, "L lanes"], StoredRows], Slots]
    step: Callable[[Array, Slots, Array, Array, StoredRows], tuple[Array, Slots]]


class Scalars(NamedTuple):
    """What an update takes besides arrays of rows.

    Attributes:
      rate: the learning rate.
      l2: `l2 * row` is added to the gradient of the rows that are touched.
      step: steps done.
      skip: whether no row is to move; None: all touched ones do.
    """

    rate: Float[Array, ""]
    l2: Float[Array, ""]
    step: Int[Array, ""]
    skip: Bool[Array, ""] | None = None

    def moving(self, ids: Int[Array, " N"], rows: int) -> Int[Array, " N"]:
        """The ids of the rows that move: of a step to skip all are `rows`, which is out of range,
        so that nothing is copied."""
        return ids if self.skip is None else jnp.where(self.skip, rows, ids)


def sgd() -> RowOptimizer:
    return RowOptimizer(
        lambda table, lie: {}, lambda lines, slots, g, rate, lie: (-rate * g, slots)
    )


def adagrad(eps: float) -> RowOptimizer:
    """Row-wise Adagrad (Duchi et al. 2011; one accumulator a row as in DLRM, Naumov et al. 2019):
    a += mean(g²); row −= rate · g / (√a + eps)."""

    def step(lines, slots, g, rate, lie):
        total = slots["sum"] + lie.mean(g * g)
        return -rate * g / lie.spread(jnp.sqrt(total) + eps), {"sum": total}

    return RowOptimizer(lambda table, lie: {"sum": jnp.zeros(lie.by_row, table.dtype)}, step)


def adam(b1: float, b2: float, eps: float) -> RowOptimizer:
    """Lazy Adam (Kingma and Ba 2015): moments and their bias correction advance for a row only
    when it is touched, counted by the row."""

    def init(table, lie):
        count = jnp.zeros(lie.by_row, jnp.int32)
        return {"m": jnp.zeros_like(table), "v": jnp.zeros_like(table), "count": count}

    def step(lines, slots, g, rate, lie):
        count = slots["count"] + 1
        m = b1 * slots["m"] + (1 - b1) * g
        v = b2 * slots["v"] + (1 - b2) * g * g
        times = lie.spread(count).astype(g.dtype)
        m_hat, v_hat = m / (1 - b1**times), v / (1 - b2**times)
        return -rate * m_hat / (jnp.sqrt(v_hat) + eps), {"m": m, "v": v, "count": count}

    return RowOptimizer(init, step)
