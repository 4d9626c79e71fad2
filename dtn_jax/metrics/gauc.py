"""AUC within groups (users, sessions), averaged over them: GAUC."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dtn_jax.metrics.groups import CODE_BITS, add, group_keys, mean_over_groups
from dtn_jax.metrics.inputs import checked, chunks
from dtn_jax.metrics.metric import Metric, Rows
from dtn_jax.shapes import Float, Int, Shaped


class Gauc(NamedTuple):
    """The mean of the groups' AUCs, and over how many.

    Attributes:
      value: in [0, 1]; None where no group has both classes.
      groups: with both classes.
      skipped: with one class: their AUC is not defined, and they have no part in the mean.
    """

    value: float | None
    groups: int
    skipped: int


def gauc(
    scores: Float[np.ndarray, " B"],
    labels: Shaped[np.ndarray, " B"],
    group: Int[np.ndarray, " B"],
    weights: Float[np.ndarray, " B"] | None = None,
) -> Gauc:
    """AUC of each group, exact with ties, averaged by the groups' rows (or their weight).

    Over the groups g that have both classes, with n(g) rows each:

        sum n(g) AUC(g) / sum n(g)

    A row's group and score become one integer, the group above: then the order of these keys is
    that of the scores within groups, and the Mann-Whitney count of `auc.auc` is taken for
    all groups at once: negatives not above a positive, less those of lower groups. Without
    weights the count is of whole numbers; with them each AUC has an error of the order of 1e-16
    times the weight of all rows over the group's. Beside its input it holds at most 26 bytes a
    row, or 35 where hardly any two rows share a group (with weights 51, or 63).

    Args:
      scores: `[B]`, any increasing function of the prediction.
      labels: `[B]`, 0 or 1 in any dtype.
      group: `[B]`, any integers; equal ones are one group.
      weights: `[B]`, >= 0; a pair weighs the product of its two, a group the sum of its rows'.

    Returns:
      The mean and the numbers of groups.

    Raises:
      ValueError: wrong input (see inputs.py), or a group array of another length.
    """
    share, aucs = group_aucs(scores, labels, group, weights)
    skipped = int(np.count_nonzero(np.isnan(aucs)))
    return Gauc(mean_over_groups(share, aucs), len(aucs) - skipped, skipped)


def group_aucs(
    scores: Float[np.ndarray, " B"],
    labels: Shaped[np.ndarray, " B"],
    group: Int[np.ndarray, " B"],
    weights: Float[np.ndarray, " B"] | None = None,
) -> tuple[Float[np.ndarray, " G"], Float[np.ndarray, " G"]]:
    """The rows (or the weight) of each group and its AUC, NaN where it has one class.

    Groups are in rising order; those of rows of weight 0 alone are not there. Args, errors: as
    `gauc`.
    """
    if group.shape != scores.shape:
        raise ValueError(f"scores have shape {scores.shape}, groups {group.shape}")
    if weights is not None and not (weights > 0).all():
        group = group[weights > 0]  # as `checked` does
    scores, labels, weights = checked(scores, labels, weights, binary=True)
    if not scores.size:
        return np.zeros(0), np.zeros(0)
    keys = group_keys(scores, group)
    count = int(keys.max() >> CODE_BITS) + 1
    split = [None, None] if weights is None else [weights[labels], weights[~labels]]
    positives, negatives = keys[labels], keys[~labels]
    del keys
    positives, of_positives = _sorted(positives, split[0])
    negatives, of_negatives = _sorted(negatives, split[1])
    positive = _sum_by_group(positives, of_positives, count)
    negative = _sum_by_group(negatives, of_negatives, count)
    won = _won(positives, of_positives, negatives, of_negatives, count)
    del positives, negatives, of_positives, of_negatives
    share = positive + negative
    positive *= negative  # pairs
    both = positive > 0
    np.divide(won, positive, out=won, where=both)
    won[~both] = np.nan
    return share, won


def _sorted(
    keys: Int[np.ndarray, " N"], weights: Float[np.ndarray, " N"] | None
) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, " N"] | None]:
    """The keys in rising order (sorted in place without weights), the weights beside them."""
    if weights is None:
        keys.sort()
        return keys, None
    order = np.argsort(keys)
    return keys[order], weights[order]


def _sum_by_group(
    keys: Int[np.ndarray, " N"], weights: Float[np.ndarray, " N"] | None, count: int
) -> Float[np.ndarray, " G"]:
    """The groups' rows, or their weight, from sorted keys."""
    total = np.zeros(count)
    for at in chunks(keys.size):
        add(total, keys[at] >> CODE_BITS, None if weights is None else weights[at])
    return total


def _won(
    positives: Int[np.ndarray, " P"],
    of_positives: Float[np.ndarray, " P"] | None,
    negatives: Int[np.ndarray, " N"],
    of_negatives: Float[np.ndarray, " N"] | None,
    count: int,
) -> Float[np.ndarray, " G"]:
    """Per group, the (weighted) pairs in which the positive is above, ties half."""
    won = np.zeros(count)
    if of_negatives is not None:
        cumulated = np.zeros(negatives.size + 1)  # [i]: the weight of the i lowest negatives
        np.cumsum(of_negatives, out=cumulated[1:])
    for at in chunks(positives.size):
        keys = positives[at]
        codes = keys >> CODE_BITS
        places = [
            np.searchsorted(negatives, codes << CODE_BITS),  # where the group's negatives begin
            np.searchsorted(negatives, keys, "left"),
            np.searchsorted(negatives, keys, "right"),
        ]
        start, below, not_above = places if of_negatives is None else (cumulated[i] for i in places)
        pairs = (below + not_above) / 2 - start
        add(won, codes, pairs if of_positives is None else pairs * of_positives[at])
    return won


def within_groups(rows: Rows) -> Gauc:
    """Metrics take it by `rows.once(within_groups)`."""
    return gauc(rows.scores, rows.labels, rows.group, rows.weights)


GAUC = Metric(
    "gauc",
    "GAUC",
    lambda rows: rows.once(within_groups).value,
    higher_is_better=True,
    selectable=True,
    column="GAUC",
    bounded=True,
    of_groups=True,
    by_group=lambda rows: group_aucs(rows.scores, rows.labels, rows.group, rows.weights),
)
GAUC_GROUPS = Metric(
    "gauc_groups",
    "groups of GAUC",  # those with both classes
    lambda rows: rows.once(within_groups).groups,
    format=",d",
    of_groups=True,
)
GAUC_SKIPPED = Metric(
    "gauc_skipped",
    "groups without GAUC",  # those with one class
    lambda rows: rows.once(within_groups).skipped,
    format=",d",
    of_groups=True,
)
