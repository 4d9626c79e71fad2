"""The lists that metrics of a ranking read: of each group its rows, the best score first.

Rows of equal scores have no order among themselves. Metrics of lists are means over every order of
such rows, each as likely (F. McSherry and M. Najork, Computing Information Retrieval Performance
Measures Efficiently in the Presence of Tied Scores, ECIR 2008): the order in which rows are stored
changes nothing, and a constant score gains nothing.

A metric of lists is the mean of the groups' values, each group as much as another. A group without
a positive has none, has no part in the mean, and is counted. Weights say how much a group counts,
by the mean weight of its rows: a place in a list is a row's, whatever it weighs. (So one weight a
group is what scikit-learn takes; rows of unequal weight do not count as copies here.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dtn_jax.metrics.groups import CODE_BITS, add, group_keys
from dtn_jax.metrics.inputs import chunks
from dtn_jax.metrics.metric import Metric, Rows
from dtn_jax.shapes import Float, Int, Int32


class Lists(NamedTuple):
    """Where the positives stand. N blocks: rows of one group and one score, with a positive.

    Attributes:
      group: `[N]`, the group's number, rising; within a group the best score is first.
      above: `[N]`, rows of the group that are scored higher.
      rows: `[N]`, of the block, >= 1.
      hits: `[N]`, how many of them are positive, >= 1.
      positives: `[G]`, of each group.
      share: `[G]`, what a group counts in a mean: 1, or the mean weight of its rows.
    """

    group: Int32[np.ndarray, " N"]
    above: Int32[np.ndarray, " N"]
    rows: Int32[np.ndarray, " N"]
    hits: Int32[np.ndarray, " N"]
    positives: Int32[np.ndarray, " G"]
    share: Float[np.ndarray, " G"]


def lists_of(rows: Rows) -> Lists:
    """The lists of rows with groups; metrics take it by `rows.once(lists_of)`.

    Beside its input it holds at most 26 bytes a row, or 35 where hardly any two rows share a group
    (up to 48 where all are positive); of them 16 a positive and 12 a group stay.
    """
    keys = group_keys(rows.scores, rows.group)
    groups = int(keys.max(initial=-1) >> CODE_BITS) + 1
    share = np.ones(groups)
    if rows.weights is not None:
        codes = keys >> CODE_BITS
        share = np.bincount(codes, rows.weights, groups) / np.bincount(codes, minlength=groups)
        del codes
    keys ^= (1 << CODE_BITS) - 1  # within a group the best score comes first
    positives = keys[rows.labels]
    keys.sort()
    positives.sort()
    new = np.ones(positives.size, bool)
    np.not_equal(positives[1:], positives[:-1], out=new[1:])
    blocks = positives[new]
    del new
    found = np.empty((4, blocks.size), np.int32)
    for at in chunks(blocks.size):
        own = blocks[at]
        group, above, in_block, hits = found[:, at]
        group[:] = own >> CODE_BITS
        first = np.searchsorted(keys, own)
        above[:] = first - np.searchsorted(keys, own >> CODE_BITS << CODE_BITS)
        in_block[:] = np.searchsorted(keys, own, "right") - first
        hits[:] = np.searchsorted(positives, own, "right") - np.searchsorted(positives, own)
    of_groups = np.zeros(groups, np.int32)
    for at in chunks(positives.size):
        add(of_groups, positives[at] >> CODE_BITS, None)
    return Lists(*found, of_groups, share)


def by_group(
    lists: Lists,
    worth: Callable[
        [Int[np.ndarray, " n"], Int[np.ndarray, " n"], Int[np.ndarray, " n"]],
        Float[np.ndarray, " n"],
    ],
) -> Float[np.ndarray, " G"]:
    """The sum over each group's blocks of `worth(above, rows, hits)`; NaN without a positive."""
    total = np.zeros(len(lists.positives))
    for at in chunks(len(lists.group)):
        add(total, lists.group[at], worth(lists.above[at], lists.rows[at], lists.hits[at]))
    total[lists.positives == 0] = np.nan
    return total


LIST_GROUPS = Metric(
    "list_groups",
    "groups with a positive",  # those of NDCG, MRR and recall
    lambda rows: int(np.count_nonzero(rows.once(lists_of).positives)),
    format=",d",
    of_groups=True,
)
LIST_SKIPPED = Metric(
    "list_skipped",
    "groups without a positive",
    lambda rows: int(np.count_nonzero(rows.once(lists_of).positives == 0)),
    format=",d",
    of_groups=True,
)
