"""What each field says of the labels by itself, and how far fields and labels moved from train.

The population stability index (PSI) of two distributions over the same bins,

    PSI = sum_i (q_i - p_i) ln(q_i / p_i),

is Jeffreys' divergence (S. Kullback and R. A. Leibler, On information and sufficiency, Ann. Math.
Stat. 22, 1951). It is read as N. Siddiqi, Credit Risk Scorecards, Wiley 2006, does: below 0.1
stable, up to 0.25 some drift, above that strong drift.

Bins must not favour a split. So ids are counted in both together: of a field with many, the TOP
most frequent have a bin each, and all others one together with the unknown id, which is theirs in
a split that train does not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import jax
import numpy as np

from dtn_jax.data.describe import leaks
from dtn_jax.data.describe.labels import in_spaces
from dtn_jax.data.describe.leaks import Alone, Label, Values
from dtn_jax.interface import Batch
from dtn_jax.schema import Field, Schema
from dtn_jax.shapes import Float, Int
from dtn_jax.tables.pooling import slots_of

MOST = 200_000  # rows of each split that are looked at
FEW = 30  # ids, up to which each has a bin
TOP = 20  # of more, those with a bin of their own
LEAST = 0.005  # the share of all values that such an id has
DECILES = 10  # bins of numbers
SOME, STRONG = 0.1, 0.25
ADDED = 0.5  # to each bin's count, so that an empty one has a logarithm


def thinned(rows: Batch, most: int = MOST) -> Batch:
    """At most so many of the rows, evenly spread."""
    step = max(-(-len(rows.ids) // most), 1)
    return jax.tree.map(lambda array: array[::step], rows)


def joined(samples: Sequence[Batch]) -> tuple[Batch, Int[np.ndarray, " B"]]:
    """All of their rows, thinned, and the number of each row's sample."""
    samples = [thinned(rows) for rows in samples]
    of = np.repeat(np.arange(len(samples)), [len(rows.ids) for rows in samples])
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *samples), of


def alone(train: Batch, validation: Batch, schema: Schema) -> Iterator[list[Alone]]:
    """Field by field, in the schema's order: what it says of the labels that have enough rows.

    Train is fitted, its rows by their weights, and validation is scored.
    """
    rows, of = joined([train, validation])
    spaces = {f"{task.name}@{task.space}" for task in schema.tasks}
    labels = []
    for key, mask, ones in in_spaces(rows, schema, "binary"):
        sides = np.flatnonzero(mask & (of == 0)), np.flatnonzero(mask & (of == 1))
        label = Label(key, sides, ones, rows.sample_weight)
        labels += [label] if key in spaces and label.enough else []
    for field in schema.fields:
        yield leaks.alone(field.name, values_of(field, schema, rows, (of == 0).sum()), labels)


def values_of(field: Field, schema: Schema, rows: Batch, fit: int) -> Iterator[Values]:
    """What a field's labels are told by."""
    slots = slots_of(schema)
    for ids, entry in ids_of(field, schema, rows, leaks.BUCKETS, fit):
        yield Values(leaks.VALUE, ids, entry)
    ids = rows.ids[:, slots[field.name]]
    counts = (ids > 0).sum(axis=1, keepdims=True)
    if len(np.unique(counts)) > 1:
        yield Values(leaks.KNOWN if field.slots == 1 else leaks.COUNT, counts)
    if field.target:  # 2 where the newest id is the target, 1 where an earlier one is
        target = rows.ids[:, slots[field.target]]
        newest = np.maximum((ids >= 0).sum(axis=1, keepdims=True) - 1, 0)
        last = (np.take_along_axis(ids, newest, axis=1) == target) & (target > 0)
        some = ((ids == target) & (target > 0)).any(axis=1, keepdims=True)
        yield Values(leaks.TARGET, some.astype(np.int32) + last)


def ids_of(
    field: Field, schema: Schema, rows: Batch, buckets: int, fit: int
) -> Iterator[tuple[Int[np.ndarray, "B S"], int | None]]:
    """A field's ids; numbers are cut into buckets at quantiles of the first `fit` rows, a vector's
    one by one, with which entry it is."""
    ids = rows.ids[:, slots_of(schema)[field.name]]
    if not field.numbers:
        yield ids, None
    first = [one.name for one in schema.number_fields()].index(field.name) if field.numbers else 0
    for entry in range(field.numbers):
        numbers = rows.numeric[:, first + entry]
        cut = leaks.in_buckets(numbers, ids[:, 0] > 0, buckets, fit)
        yield cut, entry if field.length else None


def psi(train: Float[np.ndarray, " K"], other: Float[np.ndarray, " K"]) -> float:
    """The index of two counts over the same K bins; 0.5 is added to each count."""
    p, q = ((counts + ADDED) / (counts + ADDED).sum() for counts in (train, other))
    return float(((q - p) * np.log(q / p)).sum())


def reading(value: float) -> str:
    """What an index says."""
    return "stable" if value < SOME else "some" if value <= STRONG else "strong"


def drifts(schema: Schema, samples: Sequence[Batch]) -> Iterator[tuple[str, int, float]]:
    """How far each field and label moved from the first sample to each other one: its name, the
    other's number, and the index; of a vector the largest of its entries'. Rows count by their
    weights."""
    rows, of = joined(samples)
    fit, w = int((of == 0).sum()), rows.sample_weight.astype(np.float64)
    for field in schema.fields:
        every = field.numbers > 0 or field.kind == "numeric"  # has a bin
        largest: dict[int, float] = {}
        for ids, _ in ids_of(field, schema, rows, DECILES, fit):
            for other, value in moved(ids, of, w, every):
                largest[other] = max(value, largest.get(other, 0.0))
        yield from ((field.name, other, value) for other, value in largest.items())
    for kind in ("binary", "regression"):
        for key, mask, label in in_spaces(rows, schema, kind):
            ids = label[:, None].astype(np.int32)
            if kind == "regression":
                ids = leaks.in_buckets(label, mask, DECILES, fit)
            ids = np.where(mask[:, None], ids, -1)
            yield from ((key, other, value) for other, value in moved(ids, of, w, True))


def moved(
    ids: Int[np.ndarray, "B S"],
    of: Int[np.ndarray, " B"],
    weights: Float[np.ndarray, " B"],
    every: bool,
) -> Iterator[tuple[int, float]]:
    """From the first sample's ids to those of each other that has some; `every` id has a bin."""
    known, codes = leaks.coded(ids)
    place, each = (
        np.broadcast_to(of[:, None], ids.shape),
        np.broadcast_to(weights[:, None], ids.shape),
    )
    there = codes >= 0
    flat = place[there] * len(known) + codes[there]
    counts = np.bincount(flat, each[there], minlength=(of[-1] + 1) * len(known))
    first, *others = counts.reshape(-1, len(known))
    for other, second in enumerate(others, 1):
        if first.any() and second.any():
            both = first + second > 0
            pair = np.stack([first, second])[:, both]
            yield other, psi(*(pair if every else binned(known[both], pair)))


def binned(
    ids: Int[np.ndarray, " K"], counts: Float[np.ndarray, "2 K"]
) -> Float[np.ndarray, "2 N"]:
    """The counts of rising ids, of which 0 is the unknown one, in bins: see the module."""
    if len(ids) <= FEW:
        return counts
    total = counts.sum(axis=0) * (ids > 0)
    top = np.argsort(-total, kind="stable")[:TOP]
    top = counts[:, top[total[top] >= LEAST * counts.sum()]]
    return np.column_stack([top, counts.sum(axis=1) - top.sum(axis=1)])
