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
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import gammaincinv

from dtn_jax.datasets.description.sample import in_spaces, numbers_of, slots_of, thinned
from dtn_jax.datasets.leaks import SCORED, counted, in_buckets
from dtn_jax.interface import Batch
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
    field: Field, schema: Schema, samples: Mapping[str, Batch], by_weight: bool = False
) -> list[Drift]:
    """The drift of a field, from train to each other split that has values of it.

    Args:
      field: of the schema.
      schema: says where its slots and numbers are.
      samples: {split: rows}, train's first.
      by_weight: rows count by their weights, as where negatives were sampled.
    """
    if field.length:
        samples = {split: thinned(rows, SCORED) for split, rows in samples.items()}
    ids = [rows.ids[:, slots_of(schema)[field.name]] for rows in samples.values()]
    if not field.numbers:
        return _drifts(field.name, samples, ids, field.rows, by_weight, field.kind == "numeric")
    place, known, every = numbers_of(schema)[field.name], [own[:, 0] > 0 for own in ids], []
    for entry in range(field.numbers):
        numbers = [rows.numeric[:, place.start + entry] for rows in samples.values()]
        rows, cut = in_buckets(numbers, known, NUMBER_BINS)
        which = entry if field.length else None
        every += _drifts(field.name, samples, cut, rows, by_weight, entry=which)
    by_split = [[drift for drift in every if drift.split == split] for split in samples]
    return [max(found, key=lambda drift: drift.psi) for found in by_split if found]


def of_labels(schema: Schema, samples: Mapping[str, Batch], by_weight: bool) -> list[Drift]:
    """The drift of each label in each space, from train to the other splits."""
    drifts = []
    for kind in ("binary", "regression"):
        by_split = (in_spaces(rows, schema, kind) for rows in samples.values())
        for found in zip(*by_split, strict=True):
            keys, masks, labels = zip(*found, strict=True)
            if kind == "binary":
                rows, ids = 2, [label[:, None].astype(np.int32) for label in labels]
            else:
                rows, ids = in_buckets(labels, masks, NUMBER_BINS)
            ids = [np.where(mask[:, None], own, -1) for mask, own in zip(masks, ids, strict=True)]
            drifts += _drifts(keys[0], samples, ids, rows, by_weight)
    return drifts


def _drifts(
    name: str,
    samples: Mapping[str, Batch],
    ids: Sequence[Int[np.ndarray, "_ S"]],
    rows: int,
    by_weight: bool,
    every: bool = True,
    entry: int | None = None,
) -> list[Drift]:
    """The drift from the first split's ids to those of each other; `every`: each has its bin."""
    columns = []
    for own, sample in zip(ids, samples.values(), strict=True):
        w = np.broadcast_to(sample.sample_weight[:, None], own.shape) if by_weight else None
        columns.append((*counted(own, rows, w), _effective(own, w)))
    (a, n, size), *others = columns
    found = []
    for split, (b, m, other_size) in zip(list(samples)[1:], others, strict=True):
        if not len(a) or not len(b):
            continue
        both = np.union1d(a, b)
        counts = np.zeros((2, len(both)))
        counts[0, np.searchsorted(both, a)] = n
        counts[1, np.searchsorted(both, b)] = m
        apart = bool((counts[:, both == 0].sum(axis=1) > MOST * counts.sum(axis=1)).any())
        bins = np.arange(len(both)) if every else bins_of(both, counts.sum(axis=0), apart)
        binned = [np.bincount(bins, row) for row in counts]
        level = chance(len(binned[0]), size, other_size)
        found.append(Drift(name, split, psi(*binned), level, entry))
    return found


def _effective(ids: np.ndarray, weights: np.ndarray | None) -> float:
    """Kish's effective number of values: (sum w)² / sum w²."""
    if weights is None:
        return float((ids >= 0).sum())
    w = weights[ids >= 0].astype(np.float64)
    return float(w.sum() ** 2 / max((w**2).sum(), 1e-300))
