"""All that a description says of a prepared set: `describe` reads it once and measures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.data import equal_rows, progress
from dtn_jax.data.describe import fields, labels, leaks
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepared import Prepared
from dtn_jax.interface import Batch
from dtn_jax.schema import Schema
from dtn_jax.shapes import Int64

MOST_ROWS = 3_000_000  # of a split that are read
MOST_BYTES = 256 << 20  # that those of a split may take


@dataclasses.dataclass(frozen=True)
class Groups:
    """The groups of a split.

    Attributes:
      split: its name.
      count: groups.
      quantiles: rows of a group, at `labels.QUANTILES`.
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


@dataclasses.dataclass(frozen=True)
class Description:
    """What a prepared set holds.

    Attributes:
      schema: of the set.
      folder: where the set lies.
      rows: {split: rows}.
      looked_at: {split: rows that the figures below are made from}.
      notes: what the set's preparation kept: `read`, `rejected`, `cuts`, `sample_negatives`, …
      by_weight: a log's file has `weight`, or train's negatives were sampled: regression labels,
        missing labels, correlations, drift and what a field says of the labels count rows by their
        weights. The rates beside theirs by weight, fields, groups and repeats count rows.
      missing: {split: {task: share of labels that are missing}}.
      rates, spreads: of binary and of regression labels, by split and space.
      days: of a log; [] elsewhere.
      pairs: of binary labels in train; None where there are fewer than two.
      fields: in the schema's order.
      cut: {bag: share of train's values that found no slot}, counted when the set was prepared.
      alone: what each field alone says of each binary label, the most first.
      field_drift, label_drift: from train to each other split.
      groups: of each split; [] without groups, or from a sample.
      repeats: rows that are there more than once.
    """

    schema: Schema
    folder: str
    rows: Mapping[str, int]
    looked_at: Mapping[str, int]
    notes: Mapping
    by_weight: bool
    missing: Mapping[str, Mapping[str, float]]
    rates: Sequence[labels.Rate]
    spreads: Sequence[labels.Spread]
    days: Sequence[labels.Day]
    pairs: labels.Pairs | None
    fields: Sequence[fields.FieldFacts]
    cut: Mapping[str, float]
    alone: Sequence[leaks.Alone]
    field_drift: Sequence[fields.Drift]
    label_drift: Sequence[fields.Drift]
    groups: Sequence[Groups]
    repeats: Repeats

    @property
    def whole(self) -> bool:
        """Whether all rows were looked at."""
        return dict(self.rows) == dict(self.looked_at)

    @property
    def suspects(self) -> list[leaks.Alone]:
        """What ranks a task too well by itself: it may hold the label."""
        return [figure for figure in self.alone if figure.suspect]


def describe(data: Prepared, most_rows: int = MOST_ROWS) -> Description:
    """Reads a prepared set and measures what it holds, in memory that does not grow with it.

    Args:
      data: the set.
      most_rows: of each split that are read: a larger one is read in blocks spread over it, fewer
        where rows are long.
    """
    schema = data.schema
    samples = {split: read_sample(data, split, most_rows) for split in data.rows}
    train, validation, *_ = samples.values()
    by_weight = bool(schema.weight) and "sample_negatives" in data.notes  # of a log
    told = fields.alone(train, validation, schema, by_weight)
    with progress.Rows() as bars:
        count = len(schema.fields)
        by_field = [*bars.count(told, "fields", count, rows=lambda _: 1, unit="fields")]
    figures = [figure for found in by_field for figure in found]
    moved = [fields.drift_of(field, schema, samples, by_weight) for field in schema.fields]
    looked_at = {split: len(rows.ids) for split, rows in samples.items()}
    grouped = schema.group and looked_at == data.rows  # a part of the blocks has parts of groups
    return Description(
        schema,
        str(data.folder),
        data.rows,
        looked_at,
        data.notes,
        by_weight,
        missing={split: labels.missing(s, schema, by_weight) for split, s in samples.items()},
        rates=[rate for item in samples.items() for rate in labels.rates(*item, schema)],
        spreads=[s for item in samples.items() for s in labels.spreads(*item, schema, by_weight)],
        days=labels.days(data.notes),
        pairs=labels.pairs(train, schema, by_weight),
        fields=fields.facts(schema, samples, data.hash_functions),
        cut=data.cut_shares(),
        alone=sorted(figures, key=lambda figure: -figure.auc),
        field_drift=[drift for found in moved for drift in found],
        label_drift=fields.label_drift(schema, samples, by_weight),
        groups=groups_of(samples, schema) if grouped else [],
        repeats=repeats(samples),
    )


def read_sample(data: Prepared, split: str, most_rows: int = MOST_ROWS) -> Batch:
    """Rows of a split in its order, with their groups where the set has some."""
    rows = SplitReader(data, split, grouped=bool(data.schema.group))
    return rows.read(records_of(data, split, most_rows))


def records_of(data: Prepared, split: str, most_rows: int = MOST_ROWS) -> Int64[np.ndarray, " R"]:
    """The records to read of a split: all, or as many as fit, evenly spread."""
    layout, rows = data.layout, data.rows[split]
    count, most = len(layout.blocks(rows)), min(most_rows, MOST_BYTES // data.row_bytes())
    limit = count if rows <= most else max(most // layout.block_rows, 1)
    return np.linspace(0, count - 1, min(limit, count)).round().astype(np.int64)


def groups_of(samples: Mapping[str, Batch], schema: Schema) -> list[Groups]:
    """Of each split, train first, of sets that have groups."""
    of = {split: rows.group.view(np.int64)[:, 0] for split, rows in samples.items()}
    in_train = np.unique(of["train"])
    found = []
    for split, rows in samples.items():
        own, place, sizes = np.unique(of[split], return_inverse=True, return_counts=True)
        both = {}
        for key, mask, label in labels.in_spaces(rows, schema, "binary"):
            each = np.bincount(place[mask], minlength=len(own))
            positive = np.bincount(place[mask & label], minlength=len(own))
            some, mixed = (each > 0).sum(), ((positive > 0) & (positive < each)).sum()
            both[key] = int(some), int(mixed) / max(int(some), 1)
        known = np.isin(own, in_train)
        shares = known.mean(), sizes[known].sum() / sizes.sum()
        shares = (None, None) if split == "train" else map(float, shares)
        found.append(
            Groups(
                split, len(own), tuple(np.quantile(sizes, labels.QUANTILES).tolist()), *shares, both
            )
        )
    return found


def repeats(samples: Mapping[str, Batch]) -> Repeats:
    """The first of the samples is train's."""
    inputs = {split: equal_rows.row_hashes(s.ids, s.numeric) for split, s in samples.items()}
    whole = {
        split: inputs[split] + equal_rows.row_hashes(s.labels, s.label_mask, seed=1)
        for split, s in samples.items()
    }
    train = whole["train"]
    return Repeats(
        rows=1 - len(np.unique(train)) / max(len(train), 1),
        in_train=equal_rows.shares(inputs),
        equal=equal_rows.shares(whole),
    )
