"""Metrics of a model, and what each unit of the test rows adds to them, to first order.

A unit is a row, or a whole group where the data have groups: the rows of a user are not
independent. Almost every metric is a function of sums over units: a log loss is a sum of losses
over a count, a GAUC a sum over groups. The influence of a unit is the derivative of that function
in the unit's weight (the infinitesimal jackknife of Jaeckel 1972), so the influences of all units
sum to 0, and the sum of their squares is the variance of the metric over samples of units.

An AUC's influences are the components of DeLong et al. (1988), summed over groups as Obuchowski
(1997) has them; an XAUC's come from each row's pairs.

The ECE is a sum of |predicted - observed| over bins, which has no derivative where the two are
equal, and there the sign of a bin's error is as likely wrong as right. In place of the sign stands
2 Phi(1.5 t) - 1, with t the bin's error in standard errors: with a lower factor, comparisons find
too much between equal models; with a higher one, too little between unequal ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import erf

from dtn_jax.metrics import METRICS
from dtn_jax.metrics.auc import ranked
from dtn_jax.metrics.calibration import lowest_of_bins
from dtn_jax.metrics.metric import Rows
from dtn_jax.metrics.regression import lower_labels, won_over_lower
from dtn_jax.metrics.sigmoid import probabilities_of
from dtn_jax.shapes import Float, Int

MOST = 20_000  # units; more are joined at random into as many
SURE = 1.5  # standard errors of a bin's error that make one


class Influence(NamedTuple):
    """A metric of a model.

    Attributes:
      value: on all rows; NaN where it is not defined, and then the others are NaN too.
      units: `[U]`, how much each unit adds to the value, by `slope`; the sum is 0.
      share: `[U]`, which share of what the metric counts lies in each unit; the sum is 1.
      effective: how many units of equal share say as much: Kish's 1 / sum share^2 (Kish 1965); of
        an AUC in the class for which that is less.
      slope: of a metric that is a function of a sum, its derivative there: `units` are of the sum
        then, so that models are compared on its scale. Elsewhere 1.
    """

    value: float
    units: Float[np.ndarray, " U"]
    share: Float[np.ndarray, " U"]
    effective: float
    slope: float = 1.0

    def __add__(self, other: Influence) -> Influence:
        """The sum of two metrics, of which each counts half of what the sum counts."""
        share, least = (self.share + other.share) / 2, min(self.effective, other.effective)
        return Influence(self.value + other.value, self.units + other.units, share, least)

    def times(self, factor: float, value: float) -> Influence:
        """A function of this metric, from its derivative here and its value."""
        return self._replace(value=value, units=factor * self.units)


class Units:
    """The units of the test rows.

    Args:
      rows: how many rows.
      group: `[B]`, the rows' groups; None where a row is a unit.

    Attributes:
      of_row: `[B]`, each row's unit.
      count: of the units, MOST at most.
    """

    def __init__(self, rows: int, group: Int[np.ndarray, " B"] | None):
        self.of_row, self.count = np.arange(rows), rows
        if group is not None:
            names, self.of_row = np.unique(group, return_inverse=True)
            self.count = len(names)
        if self.count > MOST:
            self.of_row = (np.random.default_rng(0).permutation(self.count) % MOST)[self.of_row]
            self.count = MOST

    def sums(
        self, places: Int[np.ndarray, " N"], column: Float[np.ndarray, " N"]
    ) -> Float[np.ndarray, " U"]:
        """Sums over each unit of a column of some rows; `places` are theirs among all."""
        return np.bincount(self.of_row[places], column, self.count).astype(np.float64)

    def quotient(
        self,
        places: Int[np.ndarray, " N"],
        over: Float[np.ndarray, " N"],
        under: Float[np.ndarray, " N"],
    ) -> Influence:
        """The sum of one column of some rows over that of another."""
        counted, total = self.sums(places, under), under.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            value = over.sum() / total
            units = (self.sums(places, over) - value * counted) / total
            share = counted / total
            return Influence(float(value), units, share, float(1 / np.square(share).sum()))


def influences(rows: Rows, places: Int[np.ndarray, " N"], units: Units) -> dict[str, Influence]:
    """{metric: its value and influences}, of a task in a space, in the order of METRICS.

    Those of INFLUENCES, and every mean over groups (`Metric.by_group`).

    Args:
      rows: those of the task in the space.
      places: `[N]`, the place of each among all rows.
      units: of all rows.
    """
    found = {}
    for name, metric in METRICS.items():
        if metric.fits(rows.kind, rows.group is not None):
            if metric.by_group is not None:
                share, values = metric.by_group(rows)
                first = rows.once(first_of_groups)
                defined = ~np.isnan(values)
                at = places[first[defined]]
                found[name] = units.quotient(at, (share * values)[defined], share[defined])
            elif name in INFLUENCES:
                found[name] = INFLUENCES[name](rows, places, units)
    return found


def first_of_groups(rows: Rows) -> Int[np.ndarray, " G"]:
    """The place of each group's first row, groups in rising order."""
    return np.unique(rows.group, return_index=True)[1]


def weights_of(rows: Rows) -> Float[np.ndarray, " N"]:
    """The rows' weights; ones where all count the same."""
    return np.ones(len(rows.scores)) if rows.weights is None else rows.weights


def _log_loss(rows: Rows, places: Int[np.ndarray, " N"], units: Units) -> Influence:
    w, z = weights_of(rows), rows.scores.astype(np.float64)
    return units.quotient(places, w * np.logaddexp(0.0, np.where(rows.labels, -z, z)), w)


def _normalised_entropy(rows: Rows, places: Int[np.ndarray, " N"], units: Units) -> Influence:
    w, loss = weights_of(rows), _log_loss(rows, places, units)
    rate = units.quotient(places, w * rows.labels, w)
    r = np.float64(rate.value)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -(r * np.log(r) + (1 - r) * np.log1p(-r))
        value = loss.value / entropy
        moved = value * np.log((1 - r) / r) * rate.units  # the entropy's derivative
        return loss._replace(value=float(value), units=(loss.units - moved) / entropy)


def _predicted_observed(rows: Rows, places: Int[np.ndarray, " N"], units: Units) -> Influence:
    w = weights_of(rows)
    return units.quotient(places, w * rows.once(probabilities_of), w * rows.labels)


def _rmse(rows: Rows, places: Int[np.ndarray, " N"], units: Units) -> Influence:
    """On the scale of the mean squared error, which one far outlier does not bend."""
    w = weights_of(rows)
    square = units.quotient(places, w * (rows.scores.astype(np.float64) - rows.labels) ** 2, w)
    root = float(np.sqrt(square.value))
    return square._replace(value=root, slope=0.5 / root if root else 1.0)


def _xauc(rows: Rows, places: Int[np.ndarray, " N"], units: Units) -> Influence:
    """Each row is in a pair twice, so both sums change twice as much."""
    w, labels = weights_of(rows), rows.labels
    won = won_over_lower(rows.scores, labels, w) + won_over_lower(-rows.scores, -labels, w)
    pairs = lower_labels(labels, w) + lower_labels(-labels, w)
    found = units.quotient(places, w * won, w * pairs)
    return found.times(2.0, found.value)


def _auc(rows: Rows, places: Int[np.ndarray, " N"], units: Units) -> Influence:
    """The mean over positives of the negatives below, and that over negatives of the positives
    above, are both the AUC; their influences add up."""
    w, positive, beaten = weights_of(rows), rows.labels, np.zeros(len(rows.scores))
    if (w * positive).any() and (w * ~positive).any():
        positives, negatives = (ranked(rows.scores, side, w) for side in (positive, ~positive))
        beaten[positive] = negatives.share_below(rows.scores[positive])
        beaten[~positive] = 1 - positives.share_below(rows.scores[~positive])
    sides = (w * positive, w * ~positive)
    up, down = (units.quotient(places, side * beaten, side) for side in sides)
    both = up + down
    return both.times(1.0, both.value / 2)


def _ece(rows: Rows, places: Int[np.ndarray, " N"], units: Units) -> Influence:
    p, w = rows.once(probabilities_of), weights_of(rows)
    if not len(p):
        return units.quotient(places, w, w)
    lowest = lowest_of_bins(p, rows.bins, rows.weights)
    bin_, bins = np.searchsorted(lowest, p, side="right") - 1, len(lowest)
    error = w * (p - rows.labels)
    cells = np.bincount(
        units.of_row[places] * bins + bin_, error, minlength=units.count * bins
    ).reshape(units.count, bins)
    away, deviation = cells.sum(axis=0), np.sqrt(np.square(cells).sum(axis=0))
    sign = erf(SURE * away / np.maximum(deviation, 1e-300) / np.sqrt(2))
    found = units.quotient(places, sign[bin_] * error, w)
    return found.times(1.0, float(np.abs(away).sum() / w.sum()))


INFLUENCES = {
    "auc": _auc,
    "logloss": _log_loss,
    "normalised_entropy": _normalised_entropy,
    "ece": _ece,
    "predicted_observed": _predicted_observed,
    "rmse": _rmse,
    "xauc": _xauc,
}
