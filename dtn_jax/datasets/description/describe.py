"""All that a description says of a prepared set: `describe` reads it once and measures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from dtn_jax.datasets.description import drift, fields, groups, labels, leaks, sample
from dtn_jax.datasets.description.sample import Sample
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
    with progress.Rows() as bars:
        samples = [_read(data, split, most_rows, bars) for split in data.rows]
        train = samples[0]
        by_weight = train.weights is not None and "sample_negatives" in data.notes  # of a log
        looked = bars.count(
            _by_field(samples, schema, by_weight),
            "fields",
            len(schema.fields),
            rows=lambda _: 1,
            unit="fields",
        )
        by_field = list(looked)
        found = [figure for figures, _ in by_field for figure in figures]
        return Description(
            schema,
            str(data.folder),
            data.rows,
            {s.split: len(s) for s in samples},
            data.notes,
            by_weight,
            missing={
                s.split: labels.missing(s, schema, s.weights if by_weight else None)
                for s in samples
            },
            rates=[rate for s in samples for rate in labels.rates(s, schema)],
            spreads=[one for s in samples for one in labels.spreads(s, schema, by_weight)],
            days=labels.days(data.notes),
            pairs=labels.pairs(train, schema, train.weights if by_weight else None),
            fields=fields.facts(schema.fields, samples, data.hash_functions),
            cut=data.cut_shares(),
            alone=sorted(found, key=lambda figure: -figure.auc),
            field_drift=[moved for _, drifts in by_field for moved in drifts],
            label_drift=_label_drift(samples, schema, by_weight),
            groups=groups.groups(samples, schema),
            repeats=groups.repeats(samples),
        )


def _read(data: Prepared, split: str, most_rows: int, bars: progress.Rows) -> Sample:
    records = sample.records_of(data, split, most_rows)
    starts = data.layout.starts(data.rows[split])
    *_, found = bars.count(
        sample.read(data, split, records),
        f"read {split}",
        int((starts[records + 1] - starts[records]).sum()),
        rows=lambda item: item if isinstance(item, int) else 0,
    )
    return found


def _by_field(samples: list[Sample], schema: Schema, by_weight: bool) -> Iterator[tuple]:
    """(what it says of the labels, its drifts), field by field."""
    train, validation, *_ = samples
    told = leaks.alone(train, validation, schema, by_weight)
    for field, figures in zip(schema.fields, told, strict=True):
        moved = (drift.of_field(field, schema, train, s, by_weight) for s in samples[1:])
        yield figures, [found for found in moved if found]


def _label_drift(samples: list[Sample], schema: Schema, by_weight: bool) -> list[drift.Drift]:
    found = []
    for column, task in enumerate(schema.tasks):
        for space in task.spaces:
            masks = [labels.in_space(s, schema, task.name, space) for s in samples]
            values = [s.labels[m, column] for s, m in zip(samples, masks, strict=True)]
            weights = [
                s.weights[m] if by_weight and s.weights is not None else None
                for s, m in zip(samples, masks, strict=True)
            ]
            for i in range(1, len(samples)):
                pair = [values[0], values[i]], [weights[0], weights[i]]
                key, regression = f"{task.name}@{space}", task.kind == "regression"
                moved = drift.of_label(key, *pair, samples[i].split, regression)
                found += [moved] if moved else []
    return found
