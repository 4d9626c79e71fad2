"""How often each label is positive, in each space and split, and by day; how labels go together."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.datasets.description.sample import Sample
from dtn_jax.metrics.intervals import wilson
from dtn_jax.metrics.spaces import space_mask
from dtn_jax.schema import Schema
from dtn_jax.shapes import Float

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
EPOCH = datetime.date(1970, 1, 1)


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
    rate: float | None
    low: float | None
    high: float | None
    weighted: float | None


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


def in_space(sample: Sample, schema: Schema, task: str, space: str) -> np.ndarray:
    """bool `[B]`: the rows of a task's metric in a space."""
    every = np.ones(len(sample), bool)
    return space_mask(task, sample.labels, sample.label_mask, every, schema, space)


def rates(sample: Sample, schema: Schema) -> list[Rate]:
    """Of each binary task in each of its spaces."""
    found = []
    for column, task in enumerate(schema.tasks):
        for space in task.spaces if task.kind == "binary" else ():
            mask = in_space(sample, schema, task.name, space)
            label = sample.labels[mask, column] == 1
            rows, positives = len(label), int(label.sum())
            rate, interval, weighted = None, (None, None), None
            if rows:
                rate = positives / rows
                interval = tuple(float(x[0]) for x in wilson(np.array([rate]), np.array([rows])))
            if rows and sample.weights is not None and (total := _sum(sample.weights[mask])):
                weighted = _sum(sample.weights[mask][label]) / total
            key = f"{task.name}@{space}"
            found.append(Rate(key, sample.split, rows, positives, rate, *interval, weighted))
    return found


def _sum(weights: np.ndarray) -> float:
    return float(weights.sum(dtype=np.float64))


def spreads(sample: Sample, schema: Schema, by_weight: bool = False) -> list[Spread]:
    """Of each regression task in each of its spaces that has rows of weights above 0."""
    found = []
    for column, task in enumerate(schema.tasks):
        for space in task.spaces if task.kind == "regression" else ():
            mask = in_space(sample, schema, task.name, space)
            if by_weight:
                mask &= sample.weights > 0
            values = sample.labels[mask, column].astype(np.float64)
            if len(values):
                weights = sample.weights[mask].astype(np.float64) if by_weight else None
                mean = np.average(values, weights=weights)
                deviation = float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
                way = {"weights": weights, "method": "inverted_cdf"} if by_weight else {}
                quantiles = tuple(np.quantile(values, QUANTILES, **way).tolist())
                facts = (len(values), float(mean), deviation, quantiles)
                found.append(Spread(f"{task.name}@{space}", sample.split, *facts))
    return found


def missing(sample: Sample, schema: Schema, weights: np.ndarray | None = None) -> dict[str, float]:
    """{task: share of the rows whose label is missing}, of tasks that lack some.

    Args:
      sample: of a split.
      schema: names the tasks.
      weights: `[B]`, what a row counts; None is 1.
    """
    shares = np.zeros(len(schema.tasks))
    if len(sample):
        weights = None if weights is None else weights.astype(np.float64)
        shares = np.average(~sample.label_mask, axis=0, weights=weights)
    return {
        name: float(share)
        for name, share in zip(schema.task_names, shares, strict=True)
        if share > 0
    }


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


def pairs(sample: Sample, schema: Schema, weights: np.ndarray | None = None) -> Pairs | None:
    """Of all pairs of binary tasks; None where there are fewer than two.

    Args:
      sample: of train.
      schema: names the tasks.
      weights: `[B]`, what a row counts; None is 1.
    """
    columns = [i for i, task in enumerate(schema.tasks) if task.kind == "binary"]
    if len(columns) < 2:
        return None
    known = sample.label_mask[:, columns].astype(np.float64)
    positive = known * (sample.labels[:, columns] == 1)
    w = np.ones((len(sample), 1)) if weights is None else weights[:, None].astype(np.float64)
    rows, both = known.T @ (w * known), positive.T @ (w * positive)
    own, other = positive.T @ (w * known), known.T @ (w * positive)  # positives of i, of j
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = own * (rows - own) * other * (rows - other)
        phi = (rows * both - own * other) / np.sqrt(variance)
        given = both / own
    names = [schema.task_names[i] for i in columns]
    return Pairs(names, np.where(variance > 0, phi, np.nan), given)
