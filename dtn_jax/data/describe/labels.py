"""How often each label is positive, in each space and split, and by day; how labels go together.

What is found is in long tables, whose columns are named as a description shows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepared import Prepared
from dtn_jax.interface import Batch
from dtn_jax.metrics.rates import wilson
from dtn_jax.metrics.spaces import space_mask
from dtn_jax.schema import Schema
from dtn_jax.shapes import Bool, Shaped

QUANTILES = {"1 %": 0.01, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "99 %": 0.99}
MOST_DAYS = 120  # periods of a long log that are shown
BLOCKS = 64  # that are read at once
WIDTHS = (1, 7, 28, 91, 364)  # days of a period


def in_spaces(
    rows: Batch, schema: Schema, kind: str
) -> Iterator[tuple[str, Bool[np.ndarray, " B"], Shaped[np.ndarray, " B"]]]:
    """Of each task of a kind in each of its spaces: its key, which rows are there, the labels (of
    binary ones whether they are 1)."""
    for column, task in enumerate(schema.tasks):
        for space in task.spaces if task.kind == kind else ():
            found = rows.labels, rows.label_mask, rows.row_mask
            label = rows.labels[:, column]
            mask = space_mask(task.name, *found, schema, space)
            yield f"{task.name}@{space}", mask, label == 1 if kind == "binary" else label


def by_split(
    samples: Mapping[str, Batch], schema: Schema, kind: str
) -> Iterator[tuple[str, str, Batch, Bool[np.ndarray, " B"], Shaped[np.ndarray, " B"]]]:
    """`in_spaces` of each key split by split: key, split, rows, mask, labels."""
    for found in zip(*(in_spaces(rows, schema, kind) for rows in samples.values()), strict=True):
        for (key, mask, label), (split, rows) in zip(found, samples.items(), strict=True):
            yield key, split, rows, mask, label


def constant(data: Prepared) -> dict[str, tuple[int, int]]:
    """{binary task whose known labels are the same in all of train: (that label, how many)}; blocks
    are read until every label has varied."""
    reader, tasks = SplitReader(data, "train"), data.schema.tasks
    binary = np.array([task.kind == "binary" for task in tasks])
    counts = np.zeros((2, len(tasks)), np.int64)
    for start in range(0, len(reader.starts) - 1, BLOCKS):
        rows = reader.read(np.arange(start, min(start + BLOCKS, len(reader.starts) - 1)))
        counts += [(rows.label_mask & (rows.labels == one)).sum(axis=0) for one in (0, 1)]
        if counts[:, binary].all():
            break
    alike = np.flatnonzero(binary & ((counts > 0).sum(axis=0) == 1))
    return {tasks[n].name: (int(counts[1, n] > 0), int(counts[:, n].sum())) for n in alike}


def rates(samples: Mapping[str, Batch], schema: Schema) -> pl.DataFrame:
    """Of each binary task: task@space, split; rows whose label is known and that are in the space,
    how many are positive, their rate with the ends of Wilson's 95 % interval, and the rate by
    weight; null where there is none."""
    records = []
    for key, split, rows, mask, label in by_split(samples, schema, "binary"):
        weights, ones = rows.sample_weight.astype(np.float64), mask & label
        total = weights[mask].sum() if schema.weight else 0
        by_weight = weights[ones].sum() / total if total else None
        records.append((key, split, int(mask.sum()), int(ones.sum()), by_weight))
    names = ["task@space", "split", "rows", "positive", "by weight"]
    table = pl.DataFrame(records, names, orient="row", infer_schema_length=None)
    rows, positives = table["rows"].to_numpy(), table["positive"].to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = positives / rows
        low, high = wilson(rate, rows)
    found = {"rate": rate, "from": low, "to": high, "by weight": table["by weight"]}
    return table.drop("by weight").with_columns(**found).fill_nan(None)


def spreads(samples: Mapping[str, Batch], schema: Schema, by_weight: bool = False) -> pl.DataFrame:
    """Of each regression task: task@space, split, rows of weights above 0, mean, sd and quantiles,
    with weights the least value with that share of them up to it."""
    records = []
    for key, split, rows, mask, label in by_split(samples, schema, "regression"):
        weights = rows.sample_weight.astype(np.float64) if by_weight else np.ones(len(label))
        mask = mask & (weights > 0)
        values, weights = label[mask].astype(np.float64), weights[mask]
        if len(values):
            mean = np.average(values, weights=weights)
            sd = np.sqrt(np.average((values - mean) ** 2, weights=weights))
            way = {"weights": weights, "method": "inverted_cdf"} if by_weight else {}
            quantiles = np.quantile(values, list(QUANTILES.values()), **way)
            records.append((key, split, len(values), mean, sd, *quantiles))
    names = ["task@space", "split", "rows", "mean", "sd", *QUANTILES]
    return pl.DataFrame(records, names, orient="row")


def missing(samples: Mapping[str, Batch], schema: Schema, by_weight: bool = False) -> pl.DataFrame:
    """label, split, the share of its rows whose label is missing; of tasks that lack some."""
    records = []
    for split, rows in samples.items():
        weights = rows.sample_weight.astype(np.float64) if by_weight else None
        shares = np.average(~rows.label_mask, axis=0, weights=weights).tolist()
        records += [(name, split, share) for name, share in zip(schema.task_names, shares)]
    table = pl.DataFrame(records, ["label", "split", "share"], orient="row")
    return table.filter(pl.col("share").max().over("label") > 0)


def days(notes: Mapping) -> pl.DataFrame:
    """Of a log: date, key, rows, and the sum of the labels; key 'rows' is of all, and first."""
    kept = notes.get("days") or {}
    records = [(day, "rows", rows, 0.0) for day, rows in kept.get("rows", ()) if kept.get("dated")]
    for key, sums in kept["sums"].items() if records else ():
        records += [(day, key, rows, float(total)) for day, rows, total in sums]
    names = {"date": pl.Int32, "key": pl.String, "rows": pl.Float64, "sum": pl.Float64}
    return pl.DataFrame(records, names, orient="row").with_columns(pl.col("date").cast(pl.Date))


def shown_days(days: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """At most MOST_DAYS periods (or those of 364 days), and how many days each has.

    A period has the date of its first day of the calendar, whether the log has that day or not.
    """
    since = (pl.col("date") - pl.col("date").min()).dt.total_days()
    span = days.select(since.max()).item() + 1
    width = next((w for w in WIDTHS if -(-span // w) <= MOST_DAYS), WIDTHS[-1])
    date = pl.col("date").min() + pl.duration(days=since // width * width)
    periods = days.with_columns(date).group_by("date", "key", maintain_order=True)
    return periods.agg(pl.col("rows", "sum").sum()), width


def pairs(rows: Batch, schema: Schema, by_weight: bool = False) -> pl.DataFrame:
    """Of two binary tasks in train, on rows where both are known: label, other, Pearson's
    correlation phi, and `given`: the share of the label's positives that are the other's, too; null
    where a label does not vary, or there are none. Of one task alone there are no rows."""
    columns = [i for i, task in enumerate(schema.tasks) if task.kind == "binary"]
    known = rows.label_mask[:, columns].astype(np.float64)
    positive = known * (rows.labels[:, columns] == 1)
    w = rows.sample_weight[:, None].astype(np.float64) if by_weight else 1.0
    count, both = known.T @ (w * known), positive.T @ (w * positive)
    own, other = positive.T @ (w * known), known.T @ (w * positive)  # positives of i, of j
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = own * (count - own) * other * (count - other)
        phi = (count * both - own * other) / np.sqrt(variance)
        given = both / own
    phi = np.where(variance > 0, phi, np.nan)
    names = [schema.task_names[i] for i in columns]
    table = {"label": np.repeat(names, len(names)), "other": names * len(names)}
    table |= {"phi": phi.ravel(), "given": given.ravel()}
    return pl.DataFrame(table).head(len(names) ** 2 if len(names) > 1 else 0).fill_nan(None)
