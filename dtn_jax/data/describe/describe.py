"""All that a description says of a prepared set: `describe` reads it once and measures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import polars as pl

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
class Description:
    """What a prepared set holds, in long tables; their functions say which columns they have.

    Attributes:
      data: the set.
      looked_at: {split: rows that the figures below are made from}.
      by_weight: a log's file has `weight`, or train's negatives were sampled: regression labels,
        missing labels, correlations, drift and what a field says of the labels count rows by their
        weights. The rates beside theirs by weight, fields, groups and repeats count rows.
      rates, spreads: of binary and of regression labels, by key and split.
      missing: labels, by task and split.
      days: of a log; no rows elsewhere.
      pairs: of binary labels in train.
      alone: what each field alone says of each binary label, the most first.
      field_drift, label_drift: from train to each other split.
      groups, mixed: of each split; no rows without groups, or from a sample.
      repeats: rows that are there more than once, by split.
    """

    data: Prepared
    looked_at: Mapping[str, int]
    by_weight: bool
    rates: pl.DataFrame
    spreads: pl.DataFrame
    missing: pl.DataFrame
    days: pl.DataFrame
    pairs: pl.DataFrame
    alone: Sequence[leaks.Alone]
    field_drift: pl.DataFrame
    label_drift: pl.DataFrame
    groups: pl.DataFrame
    mixed: pl.DataFrame
    repeats: pl.DataFrame

    @property
    def whole(self) -> bool:
        """Whether all rows were looked at."""
        return dict(self.data.rows) == dict(self.looked_at)

    @property
    def told(self) -> pl.DataFrame:
        """`alone` as a table."""
        records = [
            {
                "field": one.field if one.entry is None else f"{one.field}[{one.entry}]",
                "label": one.key,
                "by": one.by,
                "AUC": one.auc,
                "": "suspect" if one.suspect else None,
            }
            for one in self.alone
        ]
        return _table(records)

    @property
    def new_ids(self) -> pl.DataFrame:
        """Of a set that extends another, by table: how many ids and values of its train are new."""
        kept, fields = self.data.notes.get("extends") or {"ids": {}}, self.data.schema.fields
        records = [
            {
                "field": ", ".join(field.name for field in fields if field.table == table),
                "ids": facts["ids"],
                "new ids": facts["new_ids"],
                "share": facts["new_ids"] / max(facts["ids"], 1),
                "with a row": facts["added"],
                "values of new ids": facts["new_values"] / max(facts["values"], 1),
                "fallen out": facts["fallen_out"],
            }
            for table, facts in kept["ids"].items()
        ]
        return _table(records)

    @property
    def suspects(self) -> list[leaks.Alone]:
        """What ranks a task too well by itself: it may hold the label."""
        return [figure for figure in self.alone if figure.suspect]


def _table(records: Iterable[Mapping]) -> pl.DataFrame:
    return pl.DataFrame(list(records), infer_schema_length=None)


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
    moved = [fields.drift(field, schema, samples, by_weight) for field in schema.fields]
    looked_at = {split: len(rows.ids) for split, rows in samples.items()}
    grouped = schema.group and looked_at == data.rows  # a part of the blocks has parts of groups
    groups, mixed = groups_of(samples if grouped else {}, schema)
    return Description(
        data,
        looked_at,
        by_weight,
        rates=labels.rates(samples, schema),
        spreads=labels.spreads(samples, schema, by_weight),
        missing=labels.missing(samples, schema, by_weight),
        days=labels.days(data.notes),
        pairs=labels.pairs(train, schema, by_weight),
        alone=sorted(figures, key=lambda figure: -figure.auc),
        field_drift=_table(one for found in moved for one in found),
        label_drift=_table(fields.label_drift(schema, samples, by_weight)),
        groups=groups,
        mixed=mixed,
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


def groups_of(samples: Mapping[str, Batch], schema: Schema) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The groups of each split, train first, of sets that have groups.

    Returns:
      groups: split, groups, how many rows one has at quantiles; and beyond train the share of
        them that train has, and that of the rows that are of such groups.
      mixed: task@space, split, and the share of the groups with a row there that have both classes.
    """
    of = {split: rows.group.view(np.int64)[:, 0] for split, rows in samples.items()}
    found, mixed = [], []
    for split, groups in of.items():
        own, sizes = np.unique(groups, return_counts=True)
        known = np.isin(own, of["train"])
        shares = known.mean(), sizes[known].sum() / sizes.sum()
        shares = (None, None) if split == "train" else map(float, shares)
        quantiles = np.quantile(sizes, list(labels.QUANTILES.values())).tolist()
        found.append((split, len(own), *quantiles, *shares))
    for key, split, _, mask, label in labels.by_split(samples, schema, "binary"):
        own, place = np.unique(of[split][mask], return_inverse=True)
        positive, rows = np.bincount(place, label[mask]), np.bincount(place)
        both = ((positive > 0) & (positive < rows)).mean() if len(own) else 0.0
        mixed.append((key, split, float(both)))
    names = ["split", "groups", *labels.QUANTILES, "of train", "rows of those"]
    more = ["task@space", "split", "share"]
    frame = pl.DataFrame(found, names, orient="row", infer_schema_length=None)
    return frame, pl.DataFrame(mixed, more, orient="row")


def repeats(samples: Mapping[str, Batch]) -> pl.DataFrame:
    """Rows that are there more than once, inputs being ids and numbers; train is first.

    Returns:
      split; repeated, the share of train's rows that repeat an earlier one, inputs and labels; and
      of each other split the shares of rows whose inputs are those of a row of train, and that are
      equal to one, inputs and labels.
    """
    inputs = {split: equal_rows.row_hashes(s.ids, s.numeric) for split, s in samples.items()}
    whole = {
        split: inputs[split] + equal_rows.row_hashes(s.labels, s.label_mask, seed=1)
        for split, s in samples.items()
    }
    train, *others = samples
    known, equal = equal_rows.shares(inputs), equal_rows.shares(whole)
    again = 1 - len(np.unique(whole[train])) / max(len(whole[train]), 1)
    rows = [(train, again, None, None), *((s, None, known[s], equal[s]) for s in others)]
    return pl.DataFrame(
        rows, ["split", "repeated", "inputs", "equal"], orient="row", infer_schema_length=None
    )
