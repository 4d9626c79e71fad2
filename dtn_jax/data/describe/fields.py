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


def thinned(rows: Batch, most: int) -> Batch:
    """At most so many of the rows, evenly spread."""
    step = max(-(-len(rows.ids) // most), 1)
    return jax.tree.map(lambda array: array[::step], rows)


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
    """Of train's rows, and after them those of validation."""
    own = {f"{task.name}@{task.space}" for task in schema.tasks}
    none = {"ids": np.empty((0, 0), np.int32), "numeric": np.empty((0, 0), np.float32)}
    slim = (dataclasses.replace(rows, **none) for rows in (train, validation))
    both, count = jax.tree.map(lambda *a: np.concatenate(a), *slim), len(train.ids)
    found = []
    for key, mask, ones in in_spaces(both, schema, "binary"):
        rows = np.flatnonzero(mask[:count]), count + np.flatnonzero(mask[count:])
        label = Label(key, rows, ones, both.sample_weight if by_weight else None)
        found += [label] if key in own and label.enough else []
    return found


def _values(field: Field, schema: Schema, samples: Sequence[Batch]) -> Iterable[Values]:
    """What a field's labels are told by."""
    slots = slots_of(schema)
    for rows, own, entry in _ids(field, schema, samples, leaks.BUCKETS):
        yield Values(leaks.VALUE, rows, np.concatenate(own), entry)
    ids = np.concatenate([rows.ids[:, slots[field.name]] for rows in samples])
    counts = (ids > 0).sum(axis=1, keepdims=True)
    if len(np.unique(counts)) > 1:
        yield Values(leaks.KNOWN if field.slots == 1 else leaks.COUNT, field.slots + 1, counts)
    if field.target:
        target = np.concatenate([rows.ids[:, slots[field.target]] for rows in samples])
        yield Values(leaks.TARGET, 3, _listed(ids, target))


def _ids(
    field: Field, schema: Schema, samples: Sequence[Batch], buckets: int
) -> Iterator[tuple[int, list[Int[np.ndarray, "_ S"]], int | None]]:
    """A field's ids in each of the samples, below how many; numbers are cut into buckets, a
    vector's one by one, with which entry it is."""
    ids = [rows.ids[:, slots_of(schema)[field.name]] for rows in samples]
    if not field.numbers:
        yield field.rows, ids, None
    known, names = [own[:, 0] > 0 for own in ids], [f.name for f in schema.number_fields()]
    for entry in range(field.numbers):
        place = names.index(field.name) + entry
        numbers = [rows.numeric[:, place] for rows in samples]
        yield *leaks.in_buckets(numbers, known, buckets), entry if field.length else None


def _listed(ids: Int[np.ndarray, "B S"], target: Int[np.ndarray, "B 1"]) -> np.ndarray:
    """`[B, 1]`: 2 where the newest id is the target, 1 where an earlier one is, 0 where none is."""
    newest = np.maximum((ids >= 0).sum(axis=1, keepdims=True) - 1, 0)
    last = (np.take_along_axis(ids, newest, axis=1) == target) & (target > 0)
    some = ((ids == target) & (target > 0)).any(axis=1, keepdims=True)
    return some.astype(np.int32) + last


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


def drift(
    field: Field, schema: Schema, samples: Mapping[str, Batch], by_weight: bool = False
) -> list[dict]:
    """How far a field moved from train to each other split that has values of it.

    Args:
      field: of the schema.
      schema: says where its slots and numbers are.
      samples: {split: rows}, train's first.
      by_weight: rows count by their weights, as where negatives were sampled.

    Returns:
      Rows of a table: name, split; psi, of a vector the largest of its entries'; chance, what 95 %
      of samples without any drift stay below; reading, of the two; entry of a vector, or None.
    """
    if field.length:
        samples = {split: thinned(rows, SCORED) for split, rows in samples.items()}
    each = field.numbers > 0 or field.kind == "numeric"  # has a bin of its own
    best: dict[str, dict] = {}
    for rows, ids, entry in _ids(field, schema, [*samples.values()], NUMBER_BINS):
        for one in _drifts(field.name, samples, ids, rows, by_weight, each):
            if one["psi"] > best.get(one["split"], {"psi": -1})["psi"]:
                best[one["split"]] = one | {"entry": entry}
    return list(best.values())


def label_drift(schema: Schema, samples: Mapping[str, Batch], by_weight: bool) -> list[dict]:
    """The same of each label in each space."""
    drifts = []
    for kind in ("binary", "regression"):
        every = (in_spaces(rows, schema, kind) for rows in samples.values())
        for found in zip(*every, strict=True):
            keys, masks, labels = zip(*found, strict=True)
            if kind == "binary":
                rows, ids = 2, [label[:, None].astype(np.int32) for label in labels]
            else:
                rows, ids = leaks.in_buckets(labels, masks, NUMBER_BINS)
            ids = [np.where(mask[:, None], own, -1) for mask, own in zip(masks, ids)]
            drifts += _drifts(keys[0], samples, ids, rows, by_weight)
    return drifts


def _drifts(
    name: str,
    samples: Mapping[str, Batch],
    ids: Sequence[Int[np.ndarray, "_ S"]],
    rows: int,
    by_weight: bool,
    each: bool = True,
) -> Iterator[dict]:
    """From the first split's ids to those of each other; `each` has its bin."""
    weights = [
        np.broadcast_to(sample.sample_weight[:, None], own.shape) if by_weight else None
        for own, sample in zip(ids, samples.values(), strict=True)
    ]
    known, counts = leaks.counted(ids, rows, weights)
    sizes = [_effective(own, w) for own, w in zip(ids, weights, strict=True)]
    for n, split in enumerate(samples):
        pair = counts[[0, n]]
        if not n or not pair.any(axis=1).all():
            continue
        both, pair = known[pair.any(axis=0)], pair[:, pair.any(axis=0)]
        apart = bool((pair[:, both == 0].sum(axis=1) > MOST * pair.sum(axis=1)).any())
        bins = np.arange(len(both)) if each else bins_of(both, pair.sum(axis=0), apart)
        binned = [np.bincount(bins, row) for row in pair]
        found, level = psi(*binned), chance(len(binned[0]), sizes[0], sizes[n])
        facts = {"psi": found, "chance": level, "reading": reading(found, level), "entry": None}
        yield {"name": name, "split": split, **facts}


def reading(psi: float, chance: float) -> str:
    """What an index says."""
    if psi <= chance:
        return "chance"
    return "stable" if psi < SOME else "some" if psi <= STRONG else "strong"


def _effective(ids: np.ndarray, weights: np.ndarray | None) -> float:
    """Kish's effective number of values: (sum w)² / sum w²."""
    if weights is None:
        return float((ids >= 0).sum())
    w = weights[ids >= 0].astype(np.float64)
    return float(w.sum() ** 2 / max((w**2).sum(), 1e-300))
