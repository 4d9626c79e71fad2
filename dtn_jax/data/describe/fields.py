"""What each field holds in each split, what it says of the labels by itself, how far it moved.

The population stability index (PSI) of two distributions over the same bins,

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
from collections.abc import Iterable, Iterator, Mapping, Sequence

import jax
import numpy as np
from scipy.special import gammaincinv

from dtn_jax.data.describe import leaks
from dtn_jax.data.describe.labels import in_spaces
from dtn_jax.data.describe.leaks import SCORED, Alone, Label, Values
from dtn_jax.interface import Batch
from dtn_jax.schema import Field, Schema
from dtn_jax.shapes import Float, Int
from dtn_jax.tables.pooling import slots_of

TOP = 20  # ids with a bin of their own
LEAST = 0.005  # the share of all values that such an id has
DECILES = 10  # bins of the others
NUMBER_BINS = 10
MOST = 0.5  # the share of a split's values from which on the unknown id has its own bin
SOME, STRONG = 0.1, 0.25
ADDED = 0.5  # to each bin's count, so that an empty one has a logarithm


@dataclasses.dataclass(frozen=True)
class FieldFacts:
    """A field, mostly in train.

    Attributes:
      field: of the schema.
      unknown: {split: share of its values that are the unknown id: missing, or not in train; of a
        hashed field missing alone}.
      padded: {split: share of its slots that hold no value}.
      covered: the share of its table's rows, the unknown one aside, that train shows.
      median: how often train shows a row of the table that it shows at all; 0 where there is none.
      largest: the share of train's values that the most frequent one has.
      effective: how many equally frequent values would have the entropy of train's: exp(H).
      hashed: values that train has not seen have rows of its table, too.
    """

    field: Field
    unknown: dict[str, float]
    padded: dict[str, float]
    covered: float
    median: float
    largest: float
    effective: float
    hashed: bool = False


def thinned(rows: Batch, most: int) -> Batch:
    """At most so many of the rows, evenly spread."""
    step = max(-(-len(rows.ids) // most), 1)
    return jax.tree.map(lambda array: array[::step], rows)


def facts(
    schema: Schema, samples: Mapping[str, Batch], functions: Mapping[str, int] | None = None
) -> list[FieldFacts]:
    """Of each field.

    Args:
      schema: of the set.
      samples: {split: rows}, train's first.
      functions: of hashed fields, how many slots a known value takes.
    """
    functions, places = functions or {}, slots_of(schema)
    return [_facts(f, samples, places[f.name], functions.get(f.name, 0)) for f in schema.fields]


def _facts(field: Field, samples: Mapping[str, Batch], place: slice, functions: int) -> FieldFacts:
    unknown, padded = {}, {}
    for split, rows in samples.items():
        ids = rows.ids[:, place]
        missing, known = int((ids == 0).sum()), int((ids > 0).sum())
        unknown[split] = missing / max(missing + known // max(functions, 1), 1)
        padded[split] = 1 - (missing + known) / max(ids.size, 1)
    ids, (counts,) = leaks.counted([samples["train"].ids[:, place]], field.rows)
    known, share = counts[ids > 0], counts / max(counts.sum(), 1)
    return FieldFacts(
        field,
        unknown,
        padded,
        covered=len(known) / max(field.rows - 1, 1),
        median=float(np.median(known)) if len(known) else 0.0,
        largest=float(share.max(initial=0)),
        effective=float(np.exp(-(share * np.log(share)).sum())) if len(share) else 0.0,
        hashed=functions > 0,
    )


def alone(
    train: Batch, validation: Batch, schema: Schema, by_weight: bool = False
) -> Iterator[list[Alone]]:
    """Field by field, in the schema's order: what it says of the labels that have enough rows.

    Train is fitted and validation is scored; `by_weight`: train's rows count by their weights, as
    where negatives were sampled.
    """
    scored = thinned(validation, leaks.SCORED)
    pairs = {False: (train, scored), True: (thinned(train, leaks.SCORED), scored)}
    labels = {thin: _labels(*pair, schema, by_weight) for thin, pair in pairs.items()}
    for field in schema.fields:
        thin = field.length > 0  # hundreds of entries
        yield leaks.alone(field.name, _values(field, schema, pairs[thin]), labels[thin])


def _labels(train: Batch, validation: Batch, schema: Schema, by_weight: bool) -> list[Label]:
    own = {f"{task.name}@{task.space}" for task in schema.tasks}
    pair = (in_spaces(rows, schema, "binary") for rows in (train, validation))
    found = []
    for (key, *first), (_, *second) in zip(*pair, strict=True):
        rows = tuple(np.flatnonzero(mask) for mask in (first[0], second[0]))
        ones = first[1][rows[0]], second[1][rows[1]]
        label = Label(key, rows, ones, train.sample_weight[rows[0]] if by_weight else None)
        found += [label] if key in own and label.enough else []
    return found


def _values(field: Field, schema: Schema, samples: Sequence[Batch]) -> Iterable[Values]:
    """What a field's labels are told by."""
    slots = slots_of(schema)
    ids = [rows.ids[:, slots[field.name]] for rows in samples]
    if field.numbers:
        known = [own[:, 0] > 0 for own in ids]
        for entry, numbers in _numbers(field, schema, samples):
            rows, cut = leaks.in_buckets(numbers, known)
            yield Values(leaks.VALUE, rows, *cut, entry)
    else:
        yield Values(leaks.VALUE, field.rows, *ids)
    counts = [(own > 0).sum(axis=1, keepdims=True) for own in ids]
    if any(len(np.unique(own)) > 1 for own in counts):
        yield Values(leaks.KNOWN if field.slots == 1 else leaks.COUNT, field.slots + 1, *counts)
    if field.target:
        targets = [rows.ids[:, slots[field.target]] for rows in samples]
        yield Values(leaks.TARGET, 3, *map(_listed, ids, targets))


def _numbers(
    field: Field, schema: Schema, samples: Iterable[Batch]
) -> Iterator[tuple[int | None, list[np.ndarray]]]:
    """Each number of a field in each of the samples; of a vector, with which entry it is."""
    first = [f.name for f in schema.number_fields()].index(field.name)
    for entry in range(field.numbers):
        numbers = [rows.numeric[:, first + entry] for rows in samples]
        yield entry if field.length else None, numbers


def _listed(ids: Int[np.ndarray, "B S"], target: Int[np.ndarray, "B 1"]) -> np.ndarray:
    """`[B, 1]`: 2 where the newest id is the target, 1 where an earlier one is, 0 where none is."""
    newest = np.maximum((ids >= 0).sum(axis=1, keepdims=True) - 1, 0)
    last = (np.take_along_axis(ids, newest, axis=1) == target) & (target > 0)
    some = ((ids == target) & (target > 0)).any(axis=1, keepdims=True)
    return some.astype(np.int32) + last


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


def drift_of(
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
    known, every = [own[:, 0] > 0 for own in ids], []
    for entry, numbers in _numbers(field, schema, samples.values()):
        rows, cut = leaks.in_buckets(numbers, known, NUMBER_BINS)
        every += _drifts(field.name, samples, cut, rows, by_weight, entry=entry)
    by_split = [[drift for drift in every if drift.split == split] for split in samples]
    return [max(found, key=lambda drift: drift.psi) for found in by_split if found]


def label_drift(schema: Schema, samples: Mapping[str, Batch], by_weight: bool) -> list[Drift]:
    """The drift of each label in each space, from train to the other splits."""
    drifts = []
    for kind in ("binary", "regression"):
        by_split = (in_spaces(rows, schema, kind) for rows in samples.values())
        for found in zip(*by_split, strict=True):
            keys, masks, labels = zip(*found, strict=True)
            if kind == "binary":
                rows, ids = 2, [label[:, None].astype(np.int32) for label in labels]
            else:
                rows, ids = leaks.in_buckets(labels, masks, NUMBER_BINS)
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
    weights = [
        np.broadcast_to(sample.sample_weight[:, None], own.shape) if by_weight else None
        for own, sample in zip(ids, samples.values(), strict=True)
    ]
    known, counts = leaks.counted(ids, rows, weights)
    sizes = [_effective(own, w) for own, w in zip(ids, weights, strict=True)]
    found = []
    for n, split in enumerate(samples):
        pair = counts[[0, n]]
        if not n or not pair.any(axis=1).all():
            continue
        both, pair = known[pair.any(axis=0)], pair[:, pair.any(axis=0)]
        apart = bool((pair[:, both == 0].sum(axis=1) > MOST * pair.sum(axis=1)).any())
        bins = np.arange(len(both)) if every else bins_of(both, pair.sum(axis=0), apart)
        binned = [np.bincount(bins, row) for row in pair]
        level = chance(len(binned[0]), sizes[0], sizes[n])
        found.append(Drift(name, split, psi(*binned), level, entry))
    return found


def _effective(ids: np.ndarray, weights: np.ndarray | None) -> float:
    """Kish's effective number of values: (sum w)² / sum w²."""
    if weights is None:
        return float((ids >= 0).sum())
    w = weights[ids >= 0].astype(np.float64)
    return float(w.sum() ** 2 / max((w**2).sum(), 1e-300))
