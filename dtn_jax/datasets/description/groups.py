"""The groups of GAUC: how many, how large, how many are new in test; and rows that repeat."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from dtn_jax.datasets import equal_rows
from dtn_jax.datasets.description.sample import in_spaces
from dtn_jax.datasets.equal_rows import row_hashes
from dtn_jax.interface import Batch
from dtn_jax.schema import Schema

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


def groups(samples: Mapping[str, Batch], schema: Schema) -> list[Groups]:
    """Of each split, train first, of sets that have groups."""
    of = {split: rows.group.view(np.int64)[:, 0] for split, rows in samples.items()}
    in_train = np.unique(of["train"])
    found = []
    for split, rows in samples.items():
        own, place, sizes = np.unique(of[split], return_inverse=True, return_counts=True)
        both = {}
        for key, mask, label in in_spaces(rows, schema, "binary"):
            each = np.bincount(place[mask], minlength=len(own))
            positive = np.bincount(place[mask & label], minlength=len(own))
            some, mixed = (each > 0).sum(), ((positive > 0) & (positive < each)).sum()
            both[key] = int(some), int(mixed) / max(int(some), 1)
        known = np.isin(own, in_train)
        shares = known.mean(), sizes[known].sum() / sizes.sum()
        shares = (None, None) if split == "train" else map(float, shares)
        found.append(
            Groups(split, len(own), tuple(np.quantile(sizes, QUANTILES).tolist()), *shares, both)
        )
    return found


@dataclasses.dataclass(frozen=True)
class Repeats:
    """Rows that are there more than once, inputs being ids and numbers.

    Attributes:
      rows: share of train's rows that repeat an earlier one, inputs and labels.
      in_train: {split: share of its rows whose inputs are those of a row of train}.
      equal: {split: share of its rows that are equal to a row of train, inputs and labels}.
    """

    rows: float
    in_train: dict[str, float]
    equal: dict[str, float]


def repeats(samples: Mapping[str, Batch]) -> Repeats:
    """The first of the samples is train's."""
    inputs = {split: row_hashes(s.ids, s.numeric) for split, s in samples.items()}
    whole = {
        split: inputs[split] + row_hashes(s.labels, s.label_mask, seed=1)
        for split, s in samples.items()
    }
    train = whole["train"]
    return Repeats(
        rows=1 - len(np.unique(train)) / max(len(train), 1),
        in_train=equal_rows.shares(inputs),
        equal=equal_rows.shares(whole),
    )
