"""How far a field's or a label's distribution moved from train to another split.

The population stability index of two distributions over the same bins,

    PSI = sum_i (q_i - p_i) ln(q_i / p_i),

is Jeffreys' divergence (S. Kullback and R. A. Leibler, On information and sufficiency, Ann. Math.
Stat. 22, 1951). It is read as N. Siddiqi, Credit Risk Scorecards, Wiley 2006, does: below 0.1
stable, up to 0.25 some drift, above that strong drift. Without any drift n and m draws from K bins
have PSI / (1/n + 1/m) distributed nearly as chi-squared with K - 1 degrees of freedom (B. Yurdakul,
Statistical properties of the population stability index, Western Michigan University 2018); a PSI
below its 95 % quantile is called chance.

Bins must not favour a split. So ids are counted in both together: the TOP most frequent have a bin
each, and the others are put together with ids that are about as frequent. The unknown id is among
the rarest there, since train itself decides which rare values it is. It has a bin of its own where
it is most values of a split, which no longer is a matter of rare ones, and in a field with few ids,
which have a bin each.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.special import gammaincinv

from dtn_jax.datasets.description.fields import counted
from dtn_jax.datasets.description.leaks import SCORED, edges_of
from dtn_jax.datasets.description.sample import Sample, numbers_of, slots_of
from dtn_jax.schema import Field, Schema
from dtn_jax.shapes import Float, Int

TOP = 20  # ids with a bin of their own
LEAST = 0.005  # the share of all values that such an id has
DECILES = 10  # bins of the others
NUMBER_BINS = 10
MOST = 0.5  # the share of a split's values from which on the unknown id has its own bin
SOME, STRONG = 0.1, 0.25
ADDED = 0.5  # to each bin's count, so that an empty one has a logarithm


@dataclasses.dataclass(frozen=True)
class Drift:
    """Of a field or a label, from train to a split.

    Attributes:
      name: of the field, or task@space.
      split: compared with train.
      psi: the index; of a vector the largest of its entries'.
      chance: what 95 % of samples without any drift stay below.
      entry: of a vector, which one; else None.
    """

    name: str
    split: str
    psi: float
    chance: float
    entry: int | None = None

    @property
    def reading(self) -> str:
        if self.psi <= self.chance:
            return "chance"
        return "stable" if self.psi < SOME else "some" if self.psi <= STRONG else "strong"


def psi(train: Float[np.ndarray, " K"], other: Float[np.ndarray, " K"]) -> float:
    """The index of two counts over the same K bins; 0.5 is added to each count."""
    p, q = ((counts + ADDED) / (counts.sum() + ADDED * len(counts)) for counts in (train, other))
    return float(((q - p) * np.log(q / p)).sum())


def chance(
    bins: int, train_rows: float | int, other_rows: float | int, share: float = 0.95
) -> float:
    """The quantile of the index without drift."""
    if bins < 2 or not train_rows or not other_rows:
        return 0.0
    chi2 = 2 * gammaincinv((bins - 1) / 2, share)  # its quantile
    return float(chi2 * (1 / train_rows + 1 / other_rows))


def bins_of(
    ids: Int[np.ndarray, " K"], counts: Float[np.ndarray, " K"], apart: bool = False
) -> Int[np.ndarray, " K"]:
    """The bin of each id, from how often it occurs in both splits together.

    Args:
      ids: rising, 0 is the unknown one.
      counts: of each.
      apart: the unknown one has a bin of its own.
    """
    if len(ids) <= TOP + DECILES:
        return np.arange(len(ids))
    order = np.argsort(-counts, kind="stable")
    order = order[ids[order] > 0]
    top = order[:TOP]
    top = top[counts[top] >= LEAST * counts.sum()]
    rest = order[len(top) :]
    bins = np.empty(len(ids), np.int64)
    bins[top] = np.arange(len(top))
    kinds, place = np.unique(-counts[rest], return_inverse=True)  # most frequent first
    mass = np.bincount(place, counts[rest], minlength=len(kinds))
    middle = (np.cumsum(mass) - mass / 2) / mass.sum()  # equally frequent ids stay together
    decile = np.minimum((middle * DECILES).astype(np.int64), DECILES - 1)
    bins[rest] = len(top) + decile[place]
    bins[ids == 0] = bins[rest].max() + apart
    return np.unique(bins, return_inverse=True)[1]


def of_field(
    field: Field, schema: Schema, train: Sample, other: Sample, by_weight: bool
) -> Drift | None:
    """The drift of a field; None where a split has no value of it.

    Args:
      field: of the schema.
      schema: says where its slots and numbers are.
      train, other: the two splits.
      by_weight: rows count by their weights, as where negatives were sampled.
    """
    slots = slots_of(schema.fields)[field.name]
    samples = [s.thinned(SCORED) if field.length else s for s in (train, other)]
    ids, weights = [], []
    for sample in samples:
        own = sample.ids[:, slots]
        ids.append(own)
        w = sample.weights if by_weight else None
        weights.append(None if w is None else np.broadcast_to(w[:, None], own.shape))
    if not all((own >= 0).any() for own in ids):
        return None
    if not field.numbers:
        every = field.kind == "numeric"
        return Drift(field.name, other.split, *_between(ids, field.rows, weights, every))
    numbers = numbers_of(schema.fields)[field.name]
    best: Drift | None = None
    for entry in range(numbers.start, numbers.stop):
        columns = [s.numeric[:, [entry]] for s in samples]
        edges = edges_of(columns[0][ids[0][:, 0] > 0, 0], NUMBER_BINS)
        cut = [
            np.where(own > 0, 1 + np.searchsorted(edges, x, side="right"), 0).astype(np.int32)
            for own, x in zip(ids, columns, strict=True)
        ]
        figures = _between(cut, len(edges) + 2, weights, True)
        which = entry - numbers.start if field.length else None
        found = Drift(field.name, other.split, *figures, entry=which)
        best = found if best is None or found.psi > best.psi else best
    return best


def of_label(
    key: str, values: list[np.ndarray], weights: list, split: str, regression: bool
) -> Drift | None:
    """The drift of a label in a space, from its values in train and in another split."""
    if not all(len(v) for v in values):
        return None
    edges = edges_of(values[0], NUMBER_BINS) if regression else np.array([0.5])
    cut = [np.searchsorted(edges, v, side="right").astype(np.int32)[:, None] for v in values]
    weights = [None if w is None else w[:, None] for w in weights]
    return Drift(key, split, *_between(cut, len(edges) + 1, weights, True))


def _between(ids: list, rows: int, weights: list, every: bool) -> tuple[float, float]:
    """The index of two columns of ids, and its chance; `every`: each id has its bin."""
    (a, n), (b, m) = (counted(own, rows, w) for own, w in zip(ids, weights, strict=True))
    both = np.union1d(a, b)
    counts = np.zeros((2, len(both)))
    counts[0, np.searchsorted(both, a)] = n
    counts[1, np.searchsorted(both, b)] = m
    apart = bool((counts[:, both == 0].sum(axis=1) > MOST * counts.sum(axis=1)).any())
    bins = np.arange(len(both)) if every else bins_of(both, counts.sum(axis=0), apart)
    binned = [np.bincount(bins, row) for row in counts]
    sizes = [_effective(own, w) for own, w in zip(ids, weights, strict=True)]
    return psi(*binned), chance(len(binned[0]), *sizes)


def _effective(ids: np.ndarray, weights: np.ndarray | None) -> float:
    """Kish's effective number of values: (sum w)² / sum w²."""
    if weights is None:
        return float((ids >= 0).sum())
    w = weights[ids >= 0].astype(np.float64)
    return float(w.sum() ** 2 / max((w**2).sum(), 1e-300))
