"""All that a description says of a prepared set: `describe` reads it once and measures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from dtn_jax.data import equal_rows, progress
from dtn_jax.data.describe import fields, labels, leaks
from dtn_jax.data.describe.labels import frame
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepared import Prepared
from dtn_jax.interface import Batch
from dtn_jax.shapes import Int64

MOST_ROWS = 3_000_000  # of a split that are read
MOST_BYTES = 256 << 20  # that those of a split may take


@dataclasses.dataclass(frozen=True)
class Description:
    """What a prepared set holds, in long tables; their functions say which columns they have.

    Where rows have weights, regression labels, missing labels, correlations, drift and what a field
    says of the labels count rows by these. The rates beside theirs by weight, fields and repeats
    count rows.

    Attributes:
      data: the set.
      looked_at: {split: rows that the figures below are made from}.
      rates, spreads: of binary and of regression labels, by key and split.
      missing: labels, by task and split.
      days: of a log; no rows elsewhere.
      pairs: of binary labels in train.
      alone: what each field alone says of each binary label, the most first.
      drift: from train to each other split, of each field and label: name, split, psi.
      new_ids: of a set that extends another, by table.
      repeats: rows that are there more than once, by split.
    """

    data: Prepared
    looked_at: Mapping[str, int]
    rates: pl.DataFrame
    spreads: pl.DataFrame
    missing: pl.DataFrame
    days: pl.DataFrame
    pairs: pl.DataFrame
    alone: Sequence[leaks.Alone]
    drift: pl.DataFrame
    new_ids: pl.DataFrame
    repeats: pl.DataFrame


def describe(data: Prepared, most_rows: int = MOST_ROWS) -> Description:
    """Reads a prepared set and measures what it holds, in memory that does not grow with it.

    Args:
      data: the set.
      most_rows: of each split that are read: a larger one is read in blocks spread over it, fewer
        where rows are long.
    """
    schema, splits = data.schema, list(data.rows)
    samples = {split: read_sample(data, split, most_rows) for split in splits}
    train, validation, *_ = samples.values()
    by_field = fields.alone(train, validation, schema)
    with progress.Rows() as bars:
        every = bars.count(by_field, "fields", len(schema.fields), lambda _: 1, "fields")
        figures = [figure for of_field in every for figure in of_field]
    drifts = fields.drifts(schema, [*samples.values()])
    return Description(
        data,
        {split: len(rows.ids) for split, rows in samples.items()},
        rates=labels.rates(samples, schema),
        spreads=labels.spreads(samples, schema),
        missing=labels.missing(samples, schema),
        days=labels.days(data.notes),
        pairs=labels.pairs(train, schema),
        alone=sorted(figures, key=lambda figure: -figure.auc),
        drift=frame(((name, splits[n], psi) for name, n, psi in drifts), ["name", "split", "psi"]),
        new_ids=new_ids(data),
        repeats=repeats(samples),
    )


def new_ids(data: Prepared) -> pl.DataFrame:
    """Of a set that extends another, by table: how many ids and values of its train are new."""
    kept = data.notes.get("extends") or {"ids": {}}
    records = [
        (
            ", ".join(field.name for field in data.schema.fields if field.table == table),
            facts["ids"],
            facts["new_ids"],
            facts["new_ids"] / max(facts["ids"], 1),
            facts["added"],
            facts["new_values"] / max(facts["values"], 1),
            facts["fallen_out"],
        )
        for table, facts in kept["ids"].items()
    ]
    names = ("field", "ids", "new ids", "share", "with a row", "share of values", "fallen out")
    return frame(records, names)


def read_sample(data: Prepared, split: str, most_rows: int = MOST_ROWS) -> Batch:
    """Rows of a split in its order."""
    return SplitReader(data, split).read(records_of(data, split, most_rows))


def records_of(data: Prepared, split: str, most_rows: int = MOST_ROWS) -> Int64[np.ndarray, " R"]:
    """The records to read of a split: all, or as many as fit, evenly spread."""
    layout, rows = data.layout, data.rows[split]
    count, most = len(layout.blocks(rows)), min(most_rows, MOST_BYTES // data.row_bytes())
    limit = count if rows <= most else max(most // layout.block_rows, 1)
    return np.linspace(0, count - 1, min(limit, count)).round().astype(np.int64)


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
    return frame(rows, ["split", "repeated", "inputs", "equal"])
