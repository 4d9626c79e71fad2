"""How often each label is positive, in each space and split, and by day; how labels go together."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dtn_jax.interface import Batch
from dtn_jax.metrics.rates import wilson
from dtn_jax.metrics.spaces import space_mask
from dtn_jax.schema import Schema
from dtn_jax.shapes import Bool, Float, Shaped

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
EPOCH = datetime.date(1970, 1, 1)
MOST_DAYS = 120  # periods of a long log that are shown
WIDTHS = (1, 7, 28, 91, 364)  # days of a period


def in_spaces(
    rows: Batch, schema: Schema, kind: str
) -> Iterator[tuple[str, Bool[np.ndarray, " B"], Shaped[np.ndarray, " B"]]]:
    """Of each task of a kind in each of its spaces: task@space, which rows are there, the labels
    (of binary ones whether they are 1)."""
    for column, task in enumerate(schema.tasks):
        for space in task.spaces if task.kind == kind else ():
            found = rows.labels, rows.label_mask, rows.row_mask
            label = rows.labels[:, column]
            mask = space_mask(task.name, *found, schema, space)
            yield f"{task.name}@{space}", mask, label == 1 if kind == "binary" else label


@dataclasses.dataclass(frozen=True)
class Rate:
    """A binary label in a space of a split.

    Attributes:
      key: task@space.
      split: its name.
      rows: whose label is known and that are in the space.
      positives: of these.
      rate: the share of positives; None without rows.
      low, high: Wilson's 95 % interval of it; None without rows.
      weighted: the share of the rows' weights that positives have; None in sets without weights.
    """

    key: str
    split: str
    rows: int
    positives: int
    rate: float | None = None
    low: float | None = None
    high: float | None = None
    weighted: float | None = None


@dataclasses.dataclass(frozen=True)
class Spread:
    """The values of a regression's label in a space of a split, maybe by weight.

    Attributes:
      key: task@space.
      split: its name.
      rows: whose label is known and that are in the space.
      mean, deviation: of the label.
      quantiles: at QUANTILES: with weights, the least value with that share of them up to it.
    """

    key: str
    split: str
    rows: int
    mean: float
    deviation: float
    quantiles: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Day:
    """Of a day (UTC): rows of the whole log, and {task@space: (rows, sum of the labels)}, of a log
    that has `weight` both by weight."""

    date: datetime.date
    rows: int
    sums: Mapping[str, tuple[int | float, float]]


def rates(split: str, rows: Batch, schema: Schema) -> Iterator[Rate]:
    """Of each binary task in each of its spaces."""
    for key, mask, label in in_spaces(rows, schema, "binary"):
        count, positives, weighted = int(mask.sum()), int(label[mask].sum()), None
        if not count:
            yield Rate(key, split, 0, 0)
            continue
        weights = rows.sample_weight.astype(np.float64)
        if schema.weight and (total := weights[mask].sum()):
            weighted = float(weights[mask & label].sum() / total)
        rate = positives / count
        (low,), (high,) = wilson(np.array([rate]), np.array([count]))
        yield Rate(key, split, count, positives, rate, float(low), float(high), weighted)


def spreads(split: str, rows: Batch, schema: Schema, by_weight: bool = False) -> Iterator[Spread]:
    """Of each regression task in each of its spaces that has rows of weights above 0."""
    for key, mask, label in in_spaces(rows, schema, "regression"):
        weights = rows.sample_weight.astype(np.float64) if by_weight else np.ones(len(label))
        mask = mask & (weights > 0)
        values, weights = label[mask].astype(np.float64), weights[mask]
        if len(values):
            mean = np.average(values, weights=weights)
            deviation = float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
            way = {"weights": weights, "method": "inverted_cdf"} if by_weight else {}
            quantiles = tuple(np.quantile(values, QUANTILES, **way).tolist())
            yield Spread(key, split, len(values), float(mean), deviation, quantiles)


def missing(rows: Batch, schema: Schema, by_weight: bool = False) -> dict[str, float]:
    """{task: share of the rows whose label is missing}, of tasks that lack some."""
    weights = rows.sample_weight.astype(np.float64) if by_weight else None
    shares = np.average(~rows.label_mask, axis=0, weights=weights).tolist()
    return {name: share for name, share in zip(schema.task_names, shares, strict=True) if share}


def days(notes: Mapping) -> list[Day]:
    """The days of a log, in order; [] of a set that does not know them."""
    kept = notes.get("days")
    if not isinstance(kept, Mapping) or not kept.get("dated"):
        return []
    by_day: dict[int, dict[str, tuple[int | float, float]]] = {}
    for key, sums in kept["sums"].items():
        for day, rows, total in sums:
            by_day.setdefault(day, {})[key] = (rows, total)
    return [
        Day(EPOCH + datetime.timedelta(days=day), rows, by_day.get(day, {}))
        for day, rows in kept["rows"]
    ]


def shown_days(days: Sequence[Day]) -> tuple[list[Day], int]:
    """At most MOST_DAYS periods (or those of 364 days), and how many days each has.

    A period has the date of its first day of the calendar, whether the log has that day or not.
    """
    first = days[0].date
    span = (days[-1].date - first).days + 1
    width = next((w for w in WIDTHS if -(-span // w) <= MOST_DAYS), WIDTHS[-1])
    found: dict[datetime.date, Day] = {}
    for day in days:
        begin = day.date - datetime.timedelta(days=(day.date - first).days % width)
        before = found.get(begin, Day(begin, 0, {}))
        sums = dict(before.sums)
        for key, (rows, total) in day.sums.items():
            sums[key] = sums.get(key, (0, 0.0))[0] + rows, sums.get(key, (0, 0.0))[1] + total
        found[begin] = Day(begin, before.rows + day.rows, sums)
    return list(found.values()), width


@dataclasses.dataclass(frozen=True)
class Pairs:
    """How the binary labels of train go together, on rows where both are known.

    Attributes:
      tasks: their names, K.
      phi: `[K, K]`, Pearson's correlation of two labels; NaN where one does not vary.
      given: `[K, K]`, in row i and column j P(j | i): the share of the rows with label i that
        have label j; NaN without such rows.
    """

    tasks: Sequence[str]
    phi: Float[np.ndarray, "K K"]
    given: Float[np.ndarray, "K K"]


def pairs(rows: Batch, schema: Schema, by_weight: bool = False) -> Pairs | None:
    """Of all pairs of binary tasks in train; None where there are fewer than two."""
    columns = [i for i, task in enumerate(schema.tasks) if task.kind == "binary"]
    if len(columns) < 2:
        return None
    known = rows.label_mask[:, columns].astype(np.float64)
    positive = known * (rows.labels[:, columns] == 1)
    w = rows.sample_weight[:, None].astype(np.float64) if by_weight else 1.0
    count, both = known.T @ (w * known), positive.T @ (w * positive)
    own, other = positive.T @ (w * known), known.T @ (w * positive)  # positives of i, of j
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = own * (count - own) * other * (count - other)
        phi = (count * both - own * other) / np.sqrt(variance)
        given = both / own
    names = [schema.task_names[i] for i in columns]
    return Pairs(names, np.where(variance > 0, phi, np.nan), given)
