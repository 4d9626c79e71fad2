"""Is one model better than another on the same test rows? Signs of their difference, drawn.

If two models are equally good, nothing changes where they exchange their scores of a unit (a row,
or a whole group where the data have groups). To exchange them turns the sign of what that unit adds
to the difference. So each of many draws gives every unit a sign, and p is the share of draws whose
difference is at least as large as the one observed (a randomisation test: Fisher 1935; of groups,
the wild cluster bootstrap with the null imposed: Cameron, Gelbach and Miller 2008). That holds its
size with a dozen groups, with groups of very unequal sizes, with ties, rare labels and heavy tails,
where a bootstrap of groups does not; experiments/results/null_calibration.md has
the table, made by docs/tools/null_calibration.py.

A unit adds its influence (influence.py) and its share of the difference itself, so that the sum is
the difference. The 95 % interval holds every difference that the same draws do not reject: with u
the distance from the observed difference, a draw of signs s reaches u where

    |sum s influence + u sum s share| >= |u|

which is a bound on u for each draw.

Seeds vary, too: each draw also moves the difference by the scatter of the seeds (significance.py).
That scatter, measured on the same units, holds what each seed adds to single units by itself. So
that it is not counted twice, the influences are scaled down to the variance that the seeds of a
model have in common.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from dtn_jax.metrics.influence import Influence
from dtn_jax.metrics.significance import DRAWS, Comparison, drawn_seeds
from dtn_jax.shapes import Float, Int

FEWEST = 12
"""There is no p-value where units count as fewer of equal share, by `Influence.effective`."""
AT_ONCE = 200  # draws whose signs are held as float64
SEED_DRAWS = 20  # of the seeds, for each draw of signs


def signs(units: int, draws: int = DRAWS) -> Int[np.ndarray, "R U"]:
    """Draws of a sign, 1 or -1, for each unit: the same for the same number of units."""
    drawn = np.random.default_rng(0).integers(0, 2, size=(draws, units), dtype=np.int8)
    drawn *= 2
    drawn -= 1
    return drawn


def compare(
    ours: Sequence[Influence],
    theirs: Sequence[Influence],
    drawn: Int[np.ndarray, "R U"],
    most: float = 1.0,
) -> Comparison:
    """Compares a metric of two models, of each a run for every seed.

    `least` is 1 / (draws + 1): R draws tell nothing rarer. Where one side alone has several runs,
    the other's seeds are taken to scatter as its do; with one run on each side, seeds do not
    vary.

    Args:
      ours, theirs: the metric of each run, on the same units.
      drawn: their signs.
      most: no difference is larger; infinity for a metric without bounds.
    """
    values = [np.array([run.value for run in side]) for side in (ours, theirs)]
    difference = float(values[0].mean() - values[1].mean())
    if difference < 0:  # in one order, so that the draws of seeds do not depend on it
        swapped = compare(theirs, ours, drawn, most)
        return swapped._replace(difference=difference, low=-swapped.high, high=-swapped.low)
    columns = np.stack([_common(ours, theirs), ours[0].share], axis=1)
    parts = range(0, len(drawn), AT_ONCE)
    sums = np.concatenate([drawn[at : at + AT_ONCE] @ columns for at in parts])
    if max(len(ours), len(theirs)) > 1:
        sums = np.repeat(sums, SEED_DRAWS, axis=0)
    moved, share = sums.T
    moved = moved + drawn_seeds(*values, len(moved), np.random.default_rng(1))
    one_sign = np.abs(share) > 1 - 1e-9  # of all units: reaches every difference
    share = np.sign(moved) * share
    with np.errstate(divide="ignore", invalid="ignore"):
        below, above = np.abs(moved) / (1 - share), np.abs(moved) / (1 + share)
    below[one_sign] = above[one_sign] = np.inf
    below, above = below * (1 + 1e-9), above * (1 + 1e-9)  # draws equal to the difference reach it
    rejecting = (below >= difference).mean()
    least = 1 / (len(drawn) + 1)
    low = difference - np.quantile(below, 0.95, method="higher")
    high = difference + np.quantile(above, 0.95, method="higher")
    low, high = np.clip([low, high], -most, most)
    return Comparison(difference, float(low), float(high), max(float(rejecting), least), least)


def _common(ours: Sequence[Influence], theirs: Sequence[Influence]) -> Float[np.ndarray, " U"]:
    """What each unit adds to the difference in all seeds alike.

    The slope is one for all runs, the harmonic mean of theirs: the difference of two roots is that
    of the squares over the sum of the roots.
    """
    slope = statistics.harmonic_mean([run.slope for run in (*ours, *theirs)])
    sides = [slope * np.stack([run.units for run in side]) for side in (ours, theirs)]
    units = sides[0].mean(axis=0) - sides[1].mean(axis=0)
    alone = [side.var(axis=0, ddof=1).sum() if len(side) > 1 else 0.0 for side in sides]
    lent = [one or max(alone) for one in alone]  # of a single run: as its seeds' scatter
    twice = sum(variance / len(side) for variance, side in zip(lent, sides))
    total = np.square(units).sum()
    return units * np.sqrt(max(0.0, 1 - twice / total)) if twice and total else units
