"""Metrics of a regression task: RMSE, MAE, R²; and XAUC of watch time, the share of the pairs of
rows that are in the order of their labels."""

from __future__ import annotations

import numpy as np

from dtn_jax.metrics.influence import Influence, Units
from dtn_jax.metrics.inputs import Column, Weights, cumulated, mean
from dtn_jax.metrics.metric import LOSS, Metric, Rows
from dtn_jax.shapes import Int

BLOCK = 16  # bits: 2^16 rows at a time stay in a core's cache


def squared_error(rows: Rows) -> float | None:
    """The (weighted) mean squared error; None without examples."""
    return mean((rows.scores.astype(np.float64) - rows.labels) ** 2, rows.weights)


def rmse(rows: Rows) -> float | None:
    """The root of the mean squared error, in the label's unit."""
    squared = rows.once(squared_error)
    return None if squared is None else float(np.sqrt(squared))


def mae(rows: Rows) -> float | None:
    """The mean absolute error, in the label's unit."""
    return mean(np.abs(rows.scores.astype(np.float64) - rows.labels), rows.weights)


def r2(rows: Rows) -> float | None:
    """1 - squared error / squared deviation from the (weighted) mean label; None for a constant
    label."""
    labels, weights = rows.labels, rows.weights
    if not labels.size or labels.min() == labels.max():
        return None
    deviation = labels - np.average(labels, weights=weights)
    return float(1 - rows.once(squared_error) / np.average(deviation**2, weights=weights))


def xauc(rows: Rows) -> float | None:
    """The share of the pairs with unequal labels whose scores are in the order of the labels.

    R. Zhan et al., Deconfounding Duration Bias in Watch-time Prediction for Video Recommendation,
    2022, section 5.1.3. All pairs are counted, none is drawn. Equal scores count half, and a pair
    of equal labels has no order and is left out: for labels of 0 and 1 it is the AUC. A pair
    weighs the product of its two rows' weights.

    O(B log B), without weights exact. Beside its input it holds at most 72 bytes a row (with
    weights 96).

    Returns:
      In [0, 1]; None where all labels are equal.
    """
    labels, weights = rows.labels, rows.weights
    if not labels.size or labels.min() == labels.max():
        return None
    won = won_over_lower(rows.scores, labels, weights)
    if weights is None:
        _, same = np.unique(labels, return_counts=True)
        pairs = (labels.size**2 - int((same.astype(np.int64) ** 2).sum())) // 2
        return float(won.sum() / pairs)
    return float(weights @ won / (weights @ lower_labels(labels, weights)))


def lower_labels(labels: Column, weights: Column) -> Column:
    """The weight of the rows whose label is lower than each row's."""
    order = np.argsort(labels)
    return cumulated(weights[order])[np.searchsorted(labels[order], labels)]


def won_over_lower(scores: Column, labels: Column, weights: Weights) -> Column:
    """The number (or weight) of the rows of a lower label that each row beats, ties half.

    Rows are put in the order of their labels, among equal ones the best score first: then they
    are the rows before it with a lower score.
    """
    order = np.lexsort((-scores, labels)).astype(np.int32)
    by_score = np.argsort(scores[order][::-1], kind="stable").astype(np.int32)
    by_score = len(order) - 1 - by_score  # of equal scores the later row is first
    ranks = np.empty(len(order), np.int32)
    ranks[by_score] = np.arange(len(order), dtype=np.int32)
    order = order[by_score]  # the rows, the lowest score first
    del by_score
    by_rank = None if weights is None else weights[order]
    won = np.empty(len(order))
    won[order] = _tied(scores[order], labels[order], by_rank) / 2
    won[order] += lower_before(ranks, by_rank)
    return won


def lower_before(ranks: Int[np.ndarray, " B"], weights: Weights) -> Column:
    """How many rows, or which weight, stand before each row and have a lower rank.

    Bit by bit from the highest: among the ranks that agree in all higher bits, which stand together
    in the order of their rows, one with the bit is above those without it. Then these go before
    those with it, and the next bit is looked at. The last BLOCK bits go block by block.

    Args:
      ranks: int32 `[B]`, each of 0 to B - 1 once.
      weights: `[B]`, of the row of each rank.

    Returns:
      `[B]`, of the row of each rank.
    """
    total = np.zeros(len(ranks))  # by rank
    places = np.arange(len(ranks), dtype=np.int32)
    now = ranks
    bits = (len(ranks) - 1).bit_length()
    last = BLOCK if bits > BLOCK else 0
    for bit in reversed(range(last, bits)):
        low = (now >> bit) & 1 == 0
        start = now >> (bit + 1) << (bit + 1)  # where those begin that agree in the higher bits
        before = _before(low, start, np.int32)
        high = now[~low]
        if weights is None:
            total[high] += before[~low]
        else:
            total[high] += _before(np.where(low, weights[now], 0), start, np.float64)[~low]
        del high
        start += before
        np.subtract(places + (1 << bit), before, out=start, where=~low)
        del before, low
        moved = np.empty_like(now)
        moved[start] = now
        now = moved
    for start in range(0, len(ranks) if last else 0, 1 << last):
        at = slice(start, start + (1 << last))
        total[at] += lower_before(now[at] - start, None if weights is None else weights[at])
    return total


def _before(values: np.ndarray, start: Int[np.ndarray, " B"], dtype: type) -> np.ndarray:
    """The sum of the values from `start` up to each place, without its own."""
    until = cumulated(values, dtype)
    return until[:-1] - until[start]


def _tied(scores: Column, labels: Column, weights: Weights) -> Column:
    """The number (or weight) of the rows of a lower label and the same score.

    Rows rise by score; of equal scores the label falls.
    """
    change = scores[1:] != scores[:-1]
    end = _ends(change)
    own_end = _ends(change | (labels[1:] != labels[:-1]))
    until = cumulated(np.ones(len(scores)) if weights is None else weights)
    return until[end] - until[own_end]


def _ends(change: np.ndarray) -> Int[np.ndarray, " B"]:
    """Where the run of each place ends; `change[i]`: one ends with place i."""
    ends = np.append(np.flatnonzero(change) + 1, len(change) + 1)
    return np.repeat(ends, np.diff(ends, prepend=0))


def _rmse_influence(rows: Rows, units: Units) -> Influence:
    """On the scale of the mean squared error, which one far outlier does not bend."""
    w = rows.counts
    square = units.quotient(w * (rows.scores.astype(np.float64) - rows.labels) ** 2, w)
    root = float(np.sqrt(square.value))
    return square._replace(value=root, slope=0.5 / root if root else 1.0)


def _xauc_influence(rows: Rows, units: Units) -> Influence:
    """Each row is in a pair twice, so both sums change twice as much."""
    w, labels = rows.counts, rows.labels
    won = won_over_lower(rows.scores, labels, w) + won_over_lower(-rows.scores, -labels, w)
    pairs = lower_labels(labels, w) + lower_labels(-labels, w)
    quotient = units.quotient(w * won, w * pairs)
    return quotient.times(2.0, quotient.value)


ERROR = {"format": ".4g", "kinds": ("regression",), **LOSS}
SCORE = {"kinds": ("regression",), "higher_is_better": True, "selectable": True}
RMSE = Metric("rmse", "RMSE", rmse, column="RMSE", influence=_rmse_influence, **ERROR)
MAE = Metric("mae", "MAE", mae, column="MAE", **ERROR)
R2 = Metric("r2", "R²", r2, column="R²", **SCORE)
XAUC = Metric("xauc", "XAUC", xauc, column="XAUC", bounded=True, influence=_xauc_influence, **SCORE)
