"""Metrics of several models on the same rows under the same draws of these rows.

A metric is a function of sums over rows: a log loss is a sum of losses over a count, a GAUC is a
sum over groups. What is drawn, with replacement, are units: rows, or whole groups where the data
have them. So the sums of each unit are taken once, and a draw is a product of how often each unit
is in it with these sums. That costs the same for ten million rows as for 20,000, because more
units than MOST are first joined at random into as many.

The AUC is no such function. Under a draw it is taken to first order, from the share of negatives
that each positive beats and the share of positives that beats each negative: the components of
DeLong et al. (1988), summed over groups as Obuchowski (1997) has them. What that leaves out is of
the order of one over the number of positives. An XAUC is taken so, too, from each row's pairs.

ECE rises with noise, so it is higher in each draw than on the rows themselves. The draws are moved
back by what they are too high on average.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from dtn_jax.metrics import METRICS
from dtn_jax.metrics.calibration import lowest_of_bins
from dtn_jax.metrics.metric import Rows
from dtn_jax.metrics.sigmoid import probabilities_of
from dtn_jax.metrics.significance import DRAWS
from dtn_jax.metrics.xauc import lower_labels, won_over_lower

MOST = 20_000  # units that are drawn
AT_ONCE = 200  # draws whose counts are held as float64


class Drawn(NamedTuple):
    """A metric's value on the rows, and under each draw of them, `[R]`; NaN: not defined."""

    value: float
    draws: Float[np.ndarray, " R"]


class Draws:
    """Draws of units: the same for the same number of rows, or the same groups.

    Args:
      rows: how many.
      group: `[B]`, the rows' groups; None where a row is a unit.
      draws: how many.
    """

    def __init__(self, rows: int, group: Int[np.ndarray, " B"] | None, draws: int = DRAWS):
        self.unit, units = np.arange(rows), rows
        if group is not None:
            names, self.unit = np.unique(group, return_inverse=True)
            units = len(names)
        if units > MOST:
            self.unit = (np.random.default_rng(0).permutation(units) % MOST)[self.unit]
            units = MOST
        rng = np.random.default_rng(0)
        self.times = np.empty((draws, units), np.uint8)  # none is ever drawn 256 times
        for times in self.times:
            times[:] = np.bincount(rng.integers(units, size=units), minlength=units)

    def of(
        self,
        sums: Float[np.ndarray, "U C"],
        metric: Callable[[Float[np.ndarray, "R C"]], Float[np.ndarray, " R"]],
    ) -> Drawn:
        """A metric that is a function of sums, from those of each unit."""
        parts = [
            self.times[at : at + AT_ONCE].astype(np.float64) @ sums
            for at in range(0, len(self.times), AT_ONCE)
        ]
        with np.errstate(divide="ignore", invalid="ignore"):
            return Drawn(float(metric(sums.sum(axis=0)[None])[0]), metric(np.concatenate(parts)))

    def by_unit(
        self, rows: Shaped[np.ndarray, " N"], *columns: Shaped[np.ndarray, " N"]
    ) -> Float[np.ndarray, "U C"]:
        """Sums of columns, of some rows, over each unit; `rows` are their places among all."""
        own, units = self.unit[rows], self.times.shape[1]
        sums = [np.bincount(own, column, minlength=units) for column in columns]
        return np.stack(sums, axis=1).astype(np.float64)


def drawn(rows: Rows, places: Int[np.ndarray, " N"], draws: Draws) -> dict[str, Drawn]:
    """{metric: its value and its draws}, of a task in a space, in the order of METRICS.

    Those of DRAWN, and every mean over groups (`Metric.by_group`).

    Args:
      rows: those of the task in the space.
      places: `[N]`, the place of each among all rows.
      draws: of all rows.
    """
    found = {}
    for name, metric in METRICS.items():
        if metric.fits(rows.kind, rows.group is not None):
            if metric.by_group is not None:
                found[name] = _over_groups(rows, places, draws, *metric.by_group(rows))
            elif name in DRAWN:
                found[name] = DRAWN[name](rows, places, draws)
    return found


def _quotient(s: Float[np.ndarray, "R C"]) -> Float[np.ndarray, " R"]:
    return s[:, 0] / s[:, 1]


def weights_of(rows: Rows) -> Float[np.ndarray, " N"]:
    """The rows' weights; ones where all count the same."""
    return np.ones(len(rows.scores)) if rows.weights is None else rows.weights


def _losses(rows: Rows) -> Float[np.ndarray, " N"]:
    z = rows.scores.astype(np.float64)
    return np.logaddexp(0.0, np.where(rows.labels, -z, z))


def _log_loss(rows: Rows, places: Int[np.ndarray, " N"], draws: Draws) -> Drawn:
    w = weights_of(rows)
    return draws.of(draws.by_unit(places, w * _losses(rows), w), _quotient)


def _normalised_entropy(rows: Rows, places: Int[np.ndarray, " N"], draws: Draws) -> Drawn:
    def of_sums(s):
        rate = s[:, 1] / s[:, 2]
        return s[:, 0] / s[:, 2] / -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))

    w = weights_of(rows)
    return draws.of(draws.by_unit(places, w * _losses(rows), w * rows.labels, w), of_sums)


def _predicted_observed(rows: Rows, places: Int[np.ndarray, " N"], draws: Draws) -> Drawn:
    w = weights_of(rows)
    sums = draws.by_unit(places, w * rows.once(probabilities_of), w * rows.labels)
    return draws.of(sums, _quotient)


def _rmse(rows: Rows, places: Int[np.ndarray, " N"], draws: Draws) -> Drawn:
    w = weights_of(rows)
    sums = draws.by_unit(places, w * (rows.scores.astype(np.float64) - rows.labels) ** 2, w)
    return draws.of(sums, lambda s: np.sqrt(_quotient(s)))


def _xauc(rows: Rows, places: Int[np.ndarray, " N"], draws: Draws) -> Drawn:
    """To first order: each row is in a pair twice, so both sums change twice as much."""
    w, labels = weights_of(rows), rows.labels
    won = won_over_lower(rows.scores, labels, w) + won_over_lower(-rows.scores, -labels, w)
    pairs = lower_labels(labels, w) + lower_labels(-labels, w)
    value = _over(w @ won, w @ pairs)
    return draws.of(draws.by_unit(places, w * won, w * pairs), lambda s: 2 * _quotient(s) - value)


def _over(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else float("nan")


def _auc(rows: Rows, places: Int[np.ndarray, " N"], draws: Draws) -> Drawn:
    w = weights_of(rows)
    positive, beaten = rows.labels, np.zeros(len(w))
    if positive.all() or not positive.any():
        return Drawn(float("nan"), np.full(len(draws.times), np.nan))
    beaten[positive] = _below(rows.scores[positive], rows.scores[~positive], w[~positive])
    beaten[~positive] = 1 - _below(rows.scores[~positive], rows.scores[positive], w[positive])
    up, down = w * positive, w * ~positive
    value = up @ beaten / up.sum()
    sums = draws.by_unit(places, up * beaten, up, down * beaten, down)
    return draws.of(sums, lambda s: s[:, 0] / s[:, 1] + s[:, 2] / s[:, 3] - value)


def _below(
    scores: Float[np.ndarray, " N"], others: Float[np.ndarray, " M"], w: Float[np.ndarray, " M"]
) -> Float[np.ndarray, " N"]:
    """The share of the others, by weight, that lies below each score; ties are half below."""
    order = np.argsort(others)
    others, total = others[order], np.concatenate([[0.0], np.cumsum(w[order])])
    low, high = (np.searchsorted(others, scores, side) for side in ("left", "right"))
    return (total[low] + total[high]) / (2 * total[-1])


def _over_groups(
    rows: Rows,
    places: Int[np.ndarray, " N"],
    draws: Draws,
    share: Float[np.ndarray, " G"],
    values: Float[np.ndarray, " G"],
) -> Drawn:
    _, first = np.unique(rows.group, return_index=True)
    own = ~np.isnan(values)
    sums = draws.by_unit(places[first[own]], (share * values)[own], share[own])
    return draws.of(sums, _quotient)


def _ece(rows: Rows, places: Int[np.ndarray, " N"], draws: Draws) -> Drawn:
    p, w = rows.once(probabilities_of), weights_of(rows)
    if not len(p):
        return Drawn(float("nan"), np.full(len(draws.times), np.nan))
    lowest = lowest_of_bins(p, rows.bins, rows.weights)
    bin_ = np.searchsorted(lowest, p, side="right") - 1
    bins, units = len(lowest), draws.times.shape[1]
    cell = draws.unit[places] * bins + bin_
    away = np.bincount(cell, w * (p - rows.labels), minlength=units * bins).reshape(units, bins)
    sums = np.concatenate([away, draws.by_unit(places, w)], axis=1)
    found = draws.of(sums, lambda s: np.abs(s[:, :-1]).sum(axis=1) / s[:, -1])
    return found._replace(draws=found.draws - found.draws.mean() + found.value)


DRAWN = {
    "auc": _auc,
    "logloss": _log_loss,
    "normalised_entropy": _normalised_entropy,
    "ece": _ece,
    "predicted_observed": _predicted_observed,
    "rmse": _rmse,
    "xauc": _xauc,
}
