"""Sums over runs of equal neighbours, without a scatter.

A scatter that adds repeated rows is, on a GPU, a race of atomic additions: its sums depend on
timing. These sums are made in an order that depends on the runs alone.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from dtn_jax.shapes import Array, Bool, Num

BLOCK = 8  # places summed one after another; blocks are summed the same way


def run_sums(starts: Bool[Array, " N"], values: Num[Array, "N ..."]) -> Num[Array, "N ..."]:
    """At each place the sum of `values` from the start of its run to it.

    `starts` marks the first place of each run; at a run's last place stands its whole sum. Each
    number is read and written some five times, whatever the runs are.
    """
    n = len(values)
    if n == 1:
        return values
    blocks = -(-n // BLOCK)
    starts = jnp.pad(starts, (0, blocks * BLOCK - n)).reshape(blocks, BLOCK)
    rest = values.shape[1:]
    padded = jnp.pad(values, ((0, blocks * BLOCK - n), *(((0, 0),) * len(rest))))
    padded = padded.reshape(blocks, BLOCK, *rest)

    def where(condition, x, y):
        return jnp.where(condition.reshape(-1, *(1,) * len(rest)), x, y)

    within = [padded[:, 0]]
    begun = [starts[:, 0]]  # has a run started in this block, up to this place?
    for j in range(1, BLOCK):
        within.append(where(starts[:, j], padded[:, j], within[-1] + padded[:, j]))
        begun.append(begun[-1] | starts[:, j])
    if blocks > 1:
        before = run_sums(begun[-1], within[-1])[:-1]  # of the run that a block goes on with
        before = jnp.pad(before, ((1, 0), *(((0, 0),) * len(rest))))
        within = [where(b, w, before + w) for b, w in zip(begun, within)]
    return jnp.stack(within, axis=1).reshape(blocks * BLOCK, *rest)[:n]


def rank_sums(starts: Bool[Array, " N"], values: Num[Array, "N ..."], most: int):
    """The same as `run_sums`, of runs of at most `most` places.

    How a sum is bracketed depends on its place within the run alone, so that equal runs have equal
    bits wherever they stand. Values are read and written log2(most) times.
    """
    n = len(values)
    place = jnp.arange(n, dtype=jnp.int32)
    rank = place - jax.lax.cummax(jnp.where(starts, place, 0))
    rank = rank.reshape(-1, *(1,) * (values.ndim - 1))
    shift = 1
    while shift < min(most, n):
        before = jnp.pad(values[:-shift], ((shift, 0), *(((0, 0),) * (values.ndim - 1))))
        values = jnp.where(rank >= shift, before + values, values)
        shift *= 2
    return values
