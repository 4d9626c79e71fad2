"""MRR: the mean over groups of one over the place of the first positive."""

from __future__ import annotations

import numpy as np

from dtn_jax.metrics import inputs
from dtn_jax.metrics.lists import Lists, lists_of
from dtn_jax.metrics.metric import Rows, of_groups
from dtn_jax.shapes import Float, Int


def reciprocal_ranks(lists: Lists) -> Float[np.ndarray, " G"]:
    """One over the place of each group's first positive, places from 1 on.

    Among rows of equal scores it is the mean over their orders (McSherry and Najork 2008): with m
    rows, p of them positive, below a higher ones, f negatives come before the first positive with
    chance P(f) = C(m - f - 1, p - 1) / C(m, p), and the mean is the sum over f of
    P(f) / (a + f + 1). The rows of a group's best score are held at once, at about 40 bytes each.

    Args:
      lists: of the groups.

    Returns:
      `[G]`, in (0, 1]; NaN for a group without a positive.
    """
    found = np.full(len(lists.positives), np.nan)
    first = np.ones(len(lists.group), bool)
    np.not_equal(lists.group[1:], lists.group[:-1], out=first[1:])
    found[lists.group[first]] = 1 / (lists.above[first] + 1.0)
    tied = np.flatnonzero(first & (lists.hits < lists.rows))
    negatives = lists.rows[tied] - lists.hits[tied]
    sizes = np.frexp(negatives)[1]  # 2^(size - 1) <= negatives < 2^size: alike ones together
    for size in np.unique(sizes).tolist():
        alike = tied[sizes == size]
        most = max(1, inputs.CHUNK >> size)
        for start in range(0, len(alike), most):
            at = alike[start : start + most]
            expected = _expected(lists.above[at], lists.rows[at], lists.hits[at], 1 << size)
            found[lists.group[at]] = expected
    return found


def _expected(
    above: Int[np.ndarray, " N"], rows: Int[np.ndarray, " N"], hits: Int[np.ndarray, " N"], f: int
) -> Float[np.ndarray, " N"]:
    """The mean reciprocal place of the first hit of each block; f: more than any has negatives."""
    before = np.arange(f)
    left = np.maximum(rows[:, None] - before, 1)  # rows, when so many negatives are gone
    chance = np.ones((len(rows), f))  # that so many negatives are first
    np.cumprod(np.maximum(1 - hits[:, None] / left[:, :-1], 0), axis=1, out=chance[:, 1:])
    chance *= hits[:, None] / left  # and then a hit
    return (chance / (above[:, None] + before + 1)).sum(axis=1)


def of_rows(rows: Rows) -> tuple[Float[np.ndarray, " G"], Float[np.ndarray, " G"]]:
    """What each group counts, and its reciprocal rank."""
    lists = rows.once(lists_of)
    return lists.share, reciprocal_ranks(lists)


MRR = of_groups("mrr", "MRR", of_rows)
