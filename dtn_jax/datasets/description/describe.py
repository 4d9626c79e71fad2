"""All that a description says of a prepared set: `describe` reads it once and measures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from dtn_jax.datasets import leaks
from dtn_jax.datasets.description import drift, fields, groups, labels, sample
from dtn_jax.datasets.preparation import progress
from dtn_jax.datasets.preparation.prepared import Prepared
from dtn_jax.schema import Schema


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
    field_drift: Sequence[drift.Drift]
    label_drift: Sequence[drift.Drift]
    groups: Sequence[groups.Groups]
    repeats: groups.Repeats

    @property
    def whole(self) -> bool:
        """Whether all rows were looked at."""
        return dict(self.rows) == dict(self.looked_at)

    @property
    def suspects(self) -> list[leaks.Alone]:
        """What ranks a task too well by itself: it may hold the label."""
        return [figure for figure in self.alone if figure.suspect]


def describe(data: Prepared, most_rows: int = sample.MOST_ROWS) -> Description:
    """Reads a prepared set and measures what it holds, in memory that does not grow with it.

    Args:
      data: the set.
      most_rows: of each split that are read: a larger one is read in blocks spread over it, fewer
        where rows are long.
    """
    schema = data.schema
    samples = {split: sample.read(data, split, most_rows) for split in data.rows}
    train, validation, *_ = samples.values()
    by_weight = bool(schema.weight) and "sample_negatives" in data.notes  # of a log
    told = fields.alone(train, validation, schema, by_weight)
    with progress.Rows() as bars:
        count = len(schema.fields)
        by_field = [*bars.count(told, "fields", count, rows=lambda _: 1, unit="fields")]
    figures = [figure for found in by_field for figure in found]
    moved = [drift.of_field(field, schema, samples, by_weight) for field in schema.fields]
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
        label_drift=drift.of_labels(schema, samples, by_weight),
        groups=groups.groups(samples, schema) if grouped else [],
        repeats=groups.repeats(samples),
    )
