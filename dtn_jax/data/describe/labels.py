"""How often each label is positive, in each space and split, and by day; how labels go together.

What is found is in long tables, whose columns are named as a description shows them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

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
BLOCKS = 64  # that are read at once


def in_spaces(
    rows: Batch, schema: Schema, kind: str
) -> Iterator[tuple[str, Bool[np.ndarray, " B"], Shaped[np.ndarray, " B"]]]:
    """Of each task of a kind in each of its spaces: its key, which rows are there, the labels (of
    binary ones whether they are 1)."""
    for column, task in enumerate(schema.tasks):
        for space in task.spaces if task.kind == kind else ():
            label = rows.labels[:, column]
            facts = rows.labels, rows.label_mask, rows.row_mask
            mask = space_mask(task.name, *facts, schema, space)
            yield f"{task.name}@{space}", mask, label == 1 if kind == "binary" else label


def by_split(
    samples: Mapping[str, Batch], schema: Schema, kind: str
) -> Iterator[tuple[str, str, Batch, Bool[np.ndarray, " B"], Shaped[np.ndarray, " B"]]]:
    """`in_spaces` of each key split by split: key, split, rows, mask, labels."""
    every = (in_spaces(rows, schema, kind) for rows in samples.values())
    for of_key in zip(*every, strict=True):
        for (key, mask, label), (split, rows) in zip(of_key, samples.items(), strict=True):
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
        with np.errstate(invalid="ignore", divide="ignore"):
            rate = np.float64(ones.sum()) / mask.sum()
            low, high = wilson(rate, mask.sum())
            by_weight = weights[ones].sum() / weights[mask].sum() if schema.weight else np.nan
        records.append((key, split, mask.sum(), ones.sum(), rate, low, high, by_weight))
    names = ["task@space", "split", "rows", "positive", "rate", "from", "to", "by weight"]
    return frame(records, names)


def frame(records: Iterable[tuple], names: Sequence[str]) -> pl.DataFrame:
    """A table of rows; what is NaN is null."""
    plain = [[x.item() if isinstance(x, np.generic) else x for x in record] for record in records]
    table = pl.DataFrame(plain, names, orient="row", infer_schema_length=None)
    return table.fill_nan(None)


def spreads(samples: Mapping[str, Batch], schema: Schema) -> pl.DataFrame:
    """Of each regression task: task@space, split, rows of weights above 0, mean, sd and quantiles:
    the least value with that share of the weight up to it."""
    records = []
    for key, split, rows, mask, label in by_split(samples, schema, "regression"):
        weights = rows.sample_weight.astype(np.float64)
        mask = mask & (weights > 0)
        values, weights = label[mask].astype(np.float64), weights[mask]
        if len(values):
            mean = np.average(values, weights=weights)
            sd = np.sqrt(np.average((values - mean) ** 2, weights=weights))
            shares = list(QUANTILES.values())
            quantiles = np.quantile(values, shares, weights=weights, method="inverted_cdf")
            records.append((key, split, len(values), mean, sd, *quantiles))
    return frame(records, ["task@space", "split", "rows", "mean", "sd", *QUANTILES])


def missing(samples: Mapping[str, Batch], schema: Schema) -> pl.DataFrame:
    """label, split, the share of its rows whose label is missing; of tasks that lack some."""
    records = []
    for split, rows in samples.items():
        shares = np.average(~rows.label_mask, axis=0, weights=rows.sample_weight.astype(np.float64))
        records += [(name, split, share) for name, share in zip(schema.task_names, shares)]
    table = frame(records, ["label", "split", "share"])
    return table.filter(pl.col("share").max().over("label") > 0)


def days(notes: Mapping) -> pl.DataFrame:
    """Of a log: day, key, value: the rate (or mean) of each label; key 'rows' is of all rows, and
    first."""
    kept = notes["days"]
    records = [(day, "rows", rows) for day, rows in kept["rows"] if kept["dated"]]
    for key, sums in kept["sums"].items() if records else ():
        records += [(day, key, total / rows) for day, rows, total in sums if rows]
    names = {"day": pl.Int32, "key": pl.String, "value": pl.Float64}
    return pl.DataFrame(records, names, orient="row").with_columns(pl.col("day").cast(pl.Date))


def pairs(rows: Batch, schema: Schema) -> pl.DataFrame:
    """Of two binary tasks in train, on rows where both are known: label, other, Pearson's
    correlation phi, and `given`: the share of the label's positives that are the other's, too; null
    where a label does not vary, or there are none. Of one task alone there are no rows."""
    columns = [i for i, task in enumerate(schema.tasks) if task.kind == "binary"]
    known = rows.label_mask[:, columns].astype(np.float64)
    positive = known * (rows.labels[:, columns] == 1)
    w = rows.sample_weight.astype(np.float64)[:, None]
    count, both = known.T @ (w * known), positive.T @ (w * positive)
    first, second = positive.T @ (w * known), known.T @ (w * positive)  # positives of i, of j
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = first * (count - first) * second * (count - second)
        phi = (count * both - first * second) / np.sqrt(variance)
        given = both / first
    phi = np.where(variance > 0, phi, np.nan)
    names = [schema.task_names[i] for i in columns] if len(columns) > 1 else []
    places = itertools.permutations(range(len(names)), 2)
    records = [(names[i], names[j], phi[i, j], given[i, j]) for i, j in places]
    return frame(records, ["label", "other", "phi", "given"])
