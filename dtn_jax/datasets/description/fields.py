"""What each field holds in each split, and what it says of the labels by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from dtn_jax.datasets import leaks
from dtn_jax.datasets.description.sample import in_spaces, numbers_of, slots_of, thinned
from dtn_jax.datasets.leaks import Alone, Label, Values
from dtn_jax.interface import Batch
from dtn_jax.schema import Field, Schema
from dtn_jax.shapes import Int


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
    ids, counts = leaks.counted(samples["train"].ids[:, place], field.rows)
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
        yield from _numbers(
            field, ids, [s.numeric[:, numbers_of(schema)[field.name]] for s in samples]
        )
    else:
        yield Values(leaks.VALUE, field.rows, *ids)
    counts = [(own > 0).sum(axis=1, keepdims=True) for own in ids]
    if any(len(np.unique(own)) > 1 for own in counts):
        yield Values(leaks.KNOWN if field.slots == 1 else leaks.COUNT, field.slots + 1, *counts)
    if field.target:
        targets = [rows.ids[:, slots[field.target]] for rows in samples]
        yield Values(leaks.TARGET, 3, *map(_listed, ids, targets))


def _numbers(field: Field, ids: Sequence, numbers: Sequence) -> Iterator[Values]:
    """Each number of a field in buckets."""
    known = [own[:, 0] > 0 for own in ids]
    for entry in range(field.numbers):
        rows, cut = leaks.in_buckets([x[:, entry] for x in numbers], known)
        yield Values(leaks.VALUE, rows, *cut, entry if field.length else None)


def _listed(ids: Int[np.ndarray, "B S"], target: Int[np.ndarray, "B 1"]) -> np.ndarray:
    """`[B, 1]`: 2 where the newest id is the target, 1 where an earlier one is, 0 where none is."""
    newest = np.maximum((ids >= 0).sum(axis=1, keepdims=True) - 1, 0)
    last = (np.take_along_axis(ids, newest, axis=1) == target) & (target > 0)
    some = ((ids == target) & (target > 0)).any(axis=1, keepdims=True)
    return some.astype(np.int32) + last
