"""The groups of GAUC: how many, how large, how many are new in test; and rows that repeat."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from dtn_jax.datasets.description.labels import in_space
from dtn_jax.datasets.description.sample import Sample
from dtn_jax.schema import Schema
from dtn_jax.shapes import UInt64

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)


@dataclasses.dataclass(frozen=True)
class Groups:
    """The groups of a split.

    Attributes:
      split: its name.
      count: groups.
      quantiles: rows of a group, at QUANTILES.
      in_train: the share of the groups that train has; None of train.
      rows_in_train: the share of the rows that are of such groups; None of train.
      both: {task@space: (groups with a row there, the share of them with both classes)}.
    """

    split: str
    count: int
    quantiles: tuple[float, ...]
    in_train: float | None
    rows_in_train: float | None
    both: dict[str, tuple[int, float]]


def groups(samples: Sequence[Sample], schema: Schema) -> list[Groups]:
    """Of each split, train first; [] of a set without groups, or where rows were left out: a part
    of the blocks has a part of each group."""
    if not schema.group or not all(sample.whole for sample in samples):
        return []
    in_train = np.unique(samples[0].group)
    return [
        _groups(sample, schema, None if i == 0 else in_train) for i, sample in enumerate(samples)
    ]


def _groups(sample: Sample, schema: Schema, in_train: np.ndarray | None) -> Groups:
    found, place, rows = np.unique(sample.group, return_inverse=True, return_counts=True)
    both = {}
    for column, task in enumerate(schema.tasks):
        for space in task.spaces if task.kind == "binary" else ():
            mask = in_space(sample, schema, task.name, space)
            label = sample.labels[mask, column] == 1
            each = np.bincount(place[mask], minlength=len(found))
            positive = np.bincount(place[mask], label, minlength=len(found))
            some = int((each > 0).sum())
            mixed = int(((positive > 0) & (positive < each)).sum())
            both[f"{task.name}@{space}"] = some, mixed / max(some, 1)
    known = None if in_train is None else np.isin(found, in_train)
    return Groups(
        sample.split,
        len(found),
        tuple(np.quantile(rows, QUANTILES).tolist()) if len(rows) else (),
        None if known is None else float(known.mean()),
        None if known is None else float(rows[known].sum() / max(rows.sum(), 1)),
        both,
    )


@dataclasses.dataclass(frozen=True)
class Repeats:
    """Rows that are there more than once, inputs being ids and numbers.

    Attributes:
      rows: share of train's rows that repeat an earlier one, inputs and labels.
      in_train: {split: share of its rows whose inputs are those of a row of train}.
    """

    rows: float
    in_train: dict[str, float]


def repeats(samples: Sequence[Sample]) -> Repeats:
    """The first of the samples is train's."""
    train, *others = samples
    inputs = [_hash(s.ids, s.numeric.view(np.int32)) for s in samples]
    whole = inputs[0] + _hash(train.labels.view(np.int32), train.label_mask.astype(np.int32), 1)
    known = np.unique(inputs[0])
    return Repeats(
        rows=1 - len(np.unique(whole)) / max(len(train), 1),
        in_train={
            sample.split: float(np.isin(own, known).mean())
            for sample, own in zip(others, inputs[1:], strict=True)
            if len(sample)
        },
    )


def _hash(a: np.ndarray, b: np.ndarray, seed: int = 0) -> UInt64[np.ndarray, " B"]:
    """A number for each row of two arrays of int32: equal for equal rows, and for unequal ones
    hardly ever."""
    draw = np.random.default_rng(seed)
    total = np.zeros(len(a), np.uint64)
    for array in (a, b):
        for column in array.T:
            factor, shift = draw.integers(1, 2**63, 2, dtype=np.uint64)
            mixed = (column.astype(np.int64).astype(np.uint64) + shift) * (factor | np.uint64(1))
            total += mixed ^ (mixed >> np.uint64(29))
    return total
