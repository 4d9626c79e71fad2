"""Recall@k within groups: the share of the positives among the first k rows."""

from __future__ import annotations

import numpy as np

from dtn_jax.metrics.lists import Lists, by_group, lists_of
from dtn_jax.metrics.metric import Metric, Rows, of_groups
from dtn_jax.shapes import Float


def recall(lists: Lists, k: int) -> Float[np.ndarray, " G"]:
    """Of each group, the positives among its first k rows over all of its positives.

    A group of more than k positives cannot reach 1. Of rows of equal scores it is the mean over
    their orders: each of a block's places has the block's share of positives.

    Args:
      lists: of the groups.
      k: the last place that counts, >= 1.

    Returns:
      `[G]`, in [0, 1]; NaN for a group without a positive.
    """

    def found_of(above, rows, hits):
        return hits / rows * (np.minimum(above + rows, k) - np.minimum(above, k))

    found = by_group(lists, found_of)
    found[lists.positives > 0] /= lists.positives[lists.positives > 0]
    return found


def at(k: int) -> Metric:
    """The record of recall@k."""

    def groups(rows: Rows) -> tuple[Float[np.ndarray, " G"], Float[np.ndarray, " G"]]:
        lists = rows.once(lists_of)
        return lists.share, recall(lists, k)

    return of_groups(f"recall_at_{k}", f"recall@{k}", groups)


RECALL_AT_5, RECALL_AT_10 = at(5), at(10)
