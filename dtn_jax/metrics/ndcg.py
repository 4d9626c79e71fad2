"""NDCG@k within groups: are the positives at the top of their list?"""

from __future__ import annotations

import numpy as np

from dtn_jax.metrics.lists import Lists, by_group, lists_of
from dtn_jax.metrics.metric import Metric, Rows, of_groups
from dtn_jax.shapes import Float


def ndcg(lists: Lists, k: int) -> Float[np.ndarray, " G"]:
    """Normalised discounted cumulative gain of each group's first k rows.

    K. Järvelin and J. Kekäläinen, Cumulated Gain-Based Evaluation of IR Techniques, 2002, with the
    discount of C. Burges et al., 2005: of P positives in a list

        sum over positives at place i <= k of 1 / log2(i + 1)
        -----------------------------------------------------
             sum over i = 1 ... min(k, P) of 1 / log2(i + 1)

    places from 1 on. Of rows of equal scores it is the mean over their orders: each of a block's
    places has the block's share of positives.

    Args:
      lists: of the groups.
      k: the last place that counts, >= 1.

    Returns:
      `[G]`, in [0, 1]; NaN for a group without a positive.
    """
    discounts = np.zeros(k + 1)  # [i]: the sum over the first i places
    np.cumsum(1 / np.log2(np.arange(2, k + 2)), out=discounts[1:])

    def gain(above, rows, hits):
        places = discounts[np.minimum(above + rows, k)] - discounts[np.minimum(above, k)]
        return hits / rows * places

    found = by_group(lists, gain)
    found[lists.positives > 0] /= discounts[np.minimum(lists.positives, k)][lists.positives > 0]
    return found


def at(k: int) -> Metric:
    """The record of NDCG@k."""

    def groups(rows: Rows) -> tuple[Float[np.ndarray, " G"], Float[np.ndarray, " G"]]:
        lists = rows.once(lists_of)
        return lists.share, ndcg(lists, k)

    return of_groups(f"ndcg_at_{k}", f"NDCG@{k}", groups)


NDCG_AT_5, NDCG_AT_10 = at(5), at(10)
