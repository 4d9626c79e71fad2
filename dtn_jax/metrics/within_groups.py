"""Metrics within groups (users, sessions), averaged over them: GAUC, NDCG@k, MRR and recall@k.

Rows of equal scores have no order among themselves. Metrics of lists are means over every order of
such rows, each as likely (F. McSherry and M. Najork, Computing Information Retrieval Performance
Measures Efficiently in the Presence of Tied Scores, ECIR 2008): the order in which rows are stored
changes nothing, and a constant score gains nothing.

GAUC counts a group by its rows, or their weight. A metric of lists counts each group as much as
another, or by the mean weight of its rows: a place in a list is a row's, whatever it weighs. (So
one weight a group is what scikit-learn takes; rows of unequal weight do not count as copies here.)
A group in which a metric is not defined (of one class, without a positive) has no part in the mean,
and is counted.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dtn_jax.metrics import inputs
from dtn_jax.metrics.influence import Influence, Units
from dtn_jax.metrics.inputs import chunks, cumulated
from dtn_jax.metrics.metric import RANKS, Metric, Rows
from dtn_jax.shapes import Float, Int, Int32, Shaped

ByGroup = Callable[[Rows], tuple[np.ndarray, np.ndarray]]
CODE_BITS = 33  # of a key are the score's place and the label; those above, the group's number


class Groups(NamedTuple):
    """G groups, the lowest first, and the N blocks in which their positives stand.

    A block is the rows of one group and one score; those without a positive are left out.

    Attributes:
      sizes: `[G]`, rows of each.
      positives: `[G]`, how many of them are positive.
      weights: `[G]`, of all rows; `sizes`, where all count the same.
      aucs: `[G]`, NaN where a group has one class.
      group: `[N]`, the block's group, rising; within a group the best score is first.
      above: `[N]`, rows of the group that are scored higher.
      rows: `[N]`, of the block, >= 1.
      hits: `[N]`, how many of them are positive, >= 1.
    """

    sizes: Int32[np.ndarray, " G"]
    positives: Int32[np.ndarray, " G"]
    weights: Float[np.ndarray, " G"]
    aucs: Float[np.ndarray, " G"]
    group: Int32[np.ndarray, " N"]
    above: Int32[np.ndarray, " N"]
    rows: Int32[np.ndarray, " N"]
    hits: Int32[np.ndarray, " N"]

    def sums(self, worth: Callable[[slice], Float[np.ndarray, " n"]]) -> Float[np.ndarray, " G"]:
        """Over each group's blocks, of `worth(which blocks)`."""
        return _sums(self.group, len(self.sizes), worth)


def groups_of(rows: Rows) -> Groups:
    """The groups of rows that have some; metrics take it by `rows.once(groups_of)`.

    A row's group, score and label become one integer, and these are sorted: so a group's negatives
    above a positive, and its rows, are differences of places. Beside its input it holds at most 30
    bytes a row (with weights 60), as long as there are two rows or more to a group.
    """
    keys, weights = _sorted_keys(rows)
    first, new = np.ones((2, len(keys)), bool)  # of a group, of a block
    for at in chunks(len(keys) - 1):
        moved = keys[1:][at] ^ keys[:-1][at]
        first[1:][at], new[1:][at] = moved >> CODE_BITS > 0, moved > 1
    positive = keys & 1 == 1
    hits = cumulated(positive, np.int32)
    bounds = np.append(np.flatnonzero(new), len(keys)).astype(np.int32)
    has = np.flatnonzero(np.diff(hits[bounds]))
    start, end = bounds[has], bounds[has + 1]
    group = (keys[start] >> CODE_BITS).astype(np.int32)
    begin = np.append(np.flatnonzero(first), len(keys)).astype(np.int32)
    del keys, new, first, bounds, has
    if weights is None:
        up, down = hits, np.arange(len(hits), dtype=np.int32) - hits
    else:
        up, down = (cumulated(weights * side, np.float64) for side in (positive, ~positive))
    positives, negatives = np.diff(up[begin]), np.diff(down[begin])

    def won(at: slice) -> Float[np.ndarray, " n"]:
        low, high = start[at], end[at]
        below = down[begin[group[at] + 1]] - (down[low] + down[high]) / 2
        return (up[high] - up[low]) * below

    pairs = positives * negatives.astype(float)
    aucs = quotients(_sums(group, len(pairs), won), pairs)
    return Groups(
        sizes=np.diff(begin),
        positives=np.diff(hits[begin]),
        weights=(positives + negatives).astype(float),
        aucs=aucs,
        group=group,
        above=start - begin[group],
        rows=end - start,
        hits=hits[end] - hits[start],
    )


def _sorted_keys(rows: Rows) -> tuple[Int[np.ndarray, " B"], Float[np.ndarray, " B"] | None]:
    """In rising order: the group's number, the score's place and the label; the weights beside."""
    order = np.argsort(rows.group)
    ordered = rows.group[order]
    codes = np.zeros(len(order), np.int32)
    np.cumsum(ordered[1:] != ordered[:-1], dtype=np.int32, out=codes[1:])
    del ordered
    keys = np.empty(len(order), np.int64)
    keys[order] = codes
    del order, codes
    keys <<= CODE_BITS - 1
    keys |= _places(rows.scores)
    keys <<= 1
    keys |= rows.labels
    if rows.weights is None:
        keys.sort()
        return keys, None
    order = np.argsort(keys)
    return keys[order], rows.weights[order]


def _sums(
    group: Int32[np.ndarray, " N"], groups: int, worth: Callable[[slice], np.ndarray]
) -> Float[np.ndarray, " G"]:
    """The sum over each group's blocks of `worth(which blocks)`."""
    total = np.zeros(groups)
    for at in chunks(len(group)):
        first = group[at.start]
        sums = np.bincount(group[at] - first, worth(at))
        total[first : first + len(sums)] += sums
    return total


def _places(scores: Float[np.ndarray, " B"]) -> Shaped[np.ndarray, " B"]:
    """Numbers in [0, 2^32), the lower the better the score, equal where scores are equal."""
    if scores.dtype != np.float32:
        return np.unique(-scores, return_inverse=True)[1]
    bits = (np.float32(0) - scores).view(np.int32)  # 0 - 0: -0.0 ties with 0.0
    bits ^= (bits >> 31) & 0x7FFFFFFF  # of negative numbers, larger bits are lower numbers
    return bits.view(np.uint32) ^ np.uint32(1 << 31)


def mean_over_groups(
    share: Float[np.ndarray, " G"], values: Float[np.ndarray, " G"]
) -> float | None:
    """The mean of the groups' values by their shares, without those that are NaN (not defined);
    None where none is left."""
    defined = ~np.isnan(values)
    if not defined.any():
        return None
    share = np.where(defined, share, 0)
    return float(share @ np.nan_to_num(values) / share.sum())


def gauc(rows: Rows) -> tuple[float | None, int, int]:
    """AUC of each group, exact with ties, averaged by the groups' rows (or their weight); metrics
    take it by `rows.once(gauc)`.

    Over the groups g that have both classes, with n(g) rows each:

        sum n(g) AUC(g) / sum n(g)

    Without weights the pairs are counted in whole numbers. A pair weighs the product of its two, a
    group the sum of its rows'.

    Returns:
      The mean, in [0, 1], None where no group has both classes; how many have, and how many have
      one class, whose AUC is not defined: they have no part in the mean.
    """
    share, aucs = group_aucs(rows)
    skipped = int(np.count_nonzero(np.isnan(aucs)))
    return mean_over_groups(share, aucs), len(aucs) - skipped, skipped


def group_aucs(rows: Rows) -> tuple[Float[np.ndarray, " G"], Float[np.ndarray, " G"]]:
    """The rows (or the weight) of each group and its AUC, NaN where it has one class."""
    groups = rows.once(groups_of)
    return groups.weights, groups.aucs


def ndcg(groups: Groups, k: int) -> Float[np.ndarray, " G"]:
    """Normalised discounted cumulative gain of each group's first k rows; NaN without a positive.

    K. Järvelin and J. Kekäläinen, Cumulated Gain-Based Evaluation of IR Techniques, 2002, with the
    discount of C. Burges et al., 2005: of P positives in a list

        sum over positives at place i <= k of 1 / log2(i + 1)
        -----------------------------------------------------
             sum over i = 1 ... min(k, P) of 1 / log2(i + 1)

    places from 1 on. Of rows of equal scores it is the mean over their orders: each of a block's
    places has the block's share of positives.
    """
    discounts = cumulated(1 / np.log2(np.arange(2, k + 2)))
    best = discounts[np.minimum(groups.positives, k)]
    return quotients(_first_places(groups, discounts), best)


def recall(groups: Groups, k: int) -> Float[np.ndarray, " G"]:
    """Of each group, the positives among its first k rows over all of its positives; NaN without.

    A group of more than k positives cannot reach 1. Of rows of equal scores it is the mean over
    their orders.
    """
    return quotients(_first_places(groups, np.arange(k + 1.0)), groups.positives)


def _first_places(groups: Groups, worth: Float[np.ndarray, " k1"]) -> Float[np.ndarray, " G"]:
    """What each group's positives are worth; `worth[i]`: the first i of k places together."""

    def of_blocks(at: slice) -> Float[np.ndarray, " n"]:
        above, rows = groups.above[at], groups.rows[at]
        ends = (worth[np.minimum(place, len(worth) - 1)] for place in (above + rows, above))
        return groups.hits[at] / rows * np.subtract(*ends)

    return groups.sums(of_blocks)


def quotients(values: Float[np.ndarray, " G"], most: Shaped[np.ndarray, " G"]) -> np.ndarray:
    """NaN over 0."""
    return np.divide(values, most, out=np.full(len(values), np.nan), where=most > 0)


def reciprocal_ranks(groups: Groups) -> Float[np.ndarray, " G"]:
    """One over the place of each group's first positive, from 1 on; NaN without a positive.

    Among rows of equal scores it is the mean over their orders (McSherry and Najork 2008): with m
    rows, p of them positive, below a higher ones, f negatives come before the first positive with
    chance P(f) = C(m - f - 1, p - 1) / C(m, p), and the mean is the sum over f of
    P(f) / (a + f + 1). The rows of a group's best score are held at once, at about 40 bytes each.
    """
    ranks = np.full(len(groups.sizes), np.nan)
    hit = np.flatnonzero(groups.hits)
    first = hit[np.diff(groups.group[hit], prepend=-1) > 0]
    ranks[groups.group[first]] = 1 / (groups.above[first] + 1.0)
    tied = first[groups.hits[first] < groups.rows[first]]
    negatives = groups.rows[tied] - groups.hits[tied]
    sizes = np.frexp(negatives)[1]  # 2^(size - 1) <= negatives < 2^size: alike ones together
    for size in np.unique(sizes).tolist():
        alike = tied[sizes == size]
        most = max(1, inputs.CHUNK >> size)
        for start in range(0, len(alike), most):
            at = alike[start : start + most]
            ranks[groups.group[at]] = _expected(
                groups.above[at], groups.rows[at], groups.hits[at], 1 << size
            )
    return ranks


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


def first_of_groups(rows: Rows) -> Int[np.ndarray, " G"]:
    """The place of each group's first row, groups in rising order."""
    return np.unique(rows.group, return_index=True)[1]


def of_groups(name: str, title: str, by_group: ByGroup, column: str = "") -> Metric:
    """The record of a mean over groups that is in [0, 1], where higher is better.

    Args:
      name, title, column: as of `Metric`.
      by_group: rows -> (the weight of each group, its value; NaN for a group without one), `[G]`.
    """

    def influence(rows: Rows, units: Units) -> Influence:
        share, values = by_group(rows)
        defined = ~np.isnan(values)
        firsts = units.at(rows.once(first_of_groups)[defined])
        return firsts.quotient((share * values)[defined], share[defined])

    return Metric(
        name,
        title,
        lambda rows: mean_over_groups(*by_group(rows)),
        column=column,
        of_groups=True,
        influence=influence,
        **RANKS,
    )


def _of_lists(name: str, title: str, values: Callable[[Groups], np.ndarray]) -> Metric:
    def by_group(rows: Rows) -> tuple[Float[np.ndarray, " G"], Float[np.ndarray, " G"]]:
        groups = rows.once(groups_of)
        return groups.weights / groups.sizes, values(groups)  # a row's mean weight

    return of_groups(name, title, by_group)


def _count(name: str, title: str, count: Callable[[Rows], int]) -> Metric:
    return Metric(name, title, count, format=",d", of_groups=True)


GAUC = of_groups("gauc", "GAUC", group_aucs, column="GAUC")
GAUC_GROUPS = _count("gauc_groups", "groups of GAUC", lambda rows: rows.once(gauc)[1])
GAUC_SKIPPED = _count("gauc_skipped", "groups without GAUC", lambda rows: rows.once(gauc)[2])
MRR = _of_lists("mrr", "MRR", reciprocal_ranks)
NDCG_AT_5, NDCG_AT_10 = (
    _of_lists(f"ndcg_at_{k}", f"NDCG@{k}", functools.partial(ndcg, k=k)) for k in (5, 10)
)
RECALL_AT_5, RECALL_AT_10 = (
    _of_lists(f"recall_at_{k}", f"recall@{k}", functools.partial(recall, k=k)) for k in (5, 10)
)
