"""What each unit of the test rows adds to a metric, to first order.

A unit is a row, or a whole group where the data have groups: the rows of a user are not
independent. Almost every metric is a function of sums over units: a log loss is a sum of losses
over a count, a GAUC a sum over groups. The influence of a unit is the derivative of that function
in the unit's weight (the infinitesimal jackknife of Jaeckel 1972), so the influences of all units
sum to 0, and the sum of their squares is the variance of the metric over samples of units.

An AUC's influences are the components of DeLong et al. (1988), summed over groups as Obuchowski
(1997) has them; an XAUC's come from each row's pairs.
"""

from __future__ import annotations

import copy
from typing import NamedTuple

import numpy as np

from dtn_jax.shapes import Float, Int

MOST = 20_000  # units; more are joined at random into as many


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
    """The units of rows.

    Args:
      rows: how many rows.
      group: `[B]`, the rows' groups; None where a row is a unit.
      most: units; more are joined at random into as many.

    Attributes:
      of_row: `[B]`, each row's unit.
      count: of the units.
    """

    def __init__(self, rows: int, group: Int[np.ndarray, " B"] | None = None, most: int = MOST):
        self.of_row, self.count = np.arange(rows), rows
        if group is not None:
            names, self.of_row = np.unique(group, return_inverse=True)
            self.count = len(names)
        if self.count > most:
            self.of_row = (np.random.default_rng(0).permutation(self.count) % most)[self.of_row]
            self.count = most

    def at(self, places: Int[np.ndarray, " N"]) -> Units:
        """Of some of the rows; the units stay as many."""
        part = copy.copy(self)
        part.of_row = self.of_row[places]
        return part

    def sums(self, column: Float[np.ndarray, " B"]) -> Float[np.ndarray, " U"]:
        """Sums over each unit of a column."""
        return np.bincount(self.of_row, column, self.count).astype(np.float64)

    def quotient(self, over: Float[np.ndarray, " B"], under: Float[np.ndarray, " B"]) -> Influence:
        """The sum of one column over that of another."""
        counted, total = self.sums(under), under.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            value = over.sum() / total
            units = (self.sums(over) - value * counted) / total
            share = counted / total
            return Influence(float(value), units, share, float(1 / np.square(share).sum()))
