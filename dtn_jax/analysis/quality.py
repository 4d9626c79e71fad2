"""What importance is measured by: AUC (R² for a regression), and each row's influence on it.

A row's influence is how far the metric moves when the row counts once more than it does (metrics/
influence.py). So the variance of a metric is the sum of the squares, and that of a difference of
two metrics on the same rows the sum of the squared differences. For AUC this is DeLong's estimate
(Biometrics 44, 1988), written with 1/n where he has 1/(n - 1).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from dtn_jax.interface import Batch
from dtn_jax.metrics import METRICS, Influence, Metric, Rows, Units
from dtn_jax.metrics.spaces import logits_in, space_mask
from dtn_jax.schema import Schema
from dtn_jax.shapes import Float, Int


@dataclasses.dataclass(frozen=True)
class Key:
    """A task in a space, on the rows of a sample that are in it.

    Attributes:
      name: `task@space`.
      kind: the task's.
      rows: their places in the sample.
      labels: of those rows.
      weights: of those rows, all above 0; None where all count the same.
      score: from all tasks' logits `[B, T]` that of the task in the space, `[N]` (spaces.py).
    """

    name: str
    kind: str
    rows: Int[np.ndarray, " N"]
    labels: Float[np.ndarray, " N"]
    weights: Float[np.ndarray, " N"] | None
    score: Callable[[Float[np.ndarray, "B T"]], Float[np.ndarray, " N"]]

    @property
    def metric(self) -> Metric:
        """What `measure` gives: AUC, or R² of a regression."""
        return METRICS["auc" if self.kind == "binary" else "r2"]

    def measure(self, scores: Float[np.ndarray, "B C"]) -> tuple[float, Float[np.ndarray, " N"]]:
        """The metric, and the influence of each of the key's rows on it."""
        of_task = self.score(scores)
        rows = Rows(self.kind, of_task, self.labels, self.weights)
        units = Units(len(of_task), most=len(of_task))
        influence = self.metric.influence if self.kind == "binary" else r2
        measured = influence(rows, units)
        return measured.value, measured.units


def keys(schema: Schema, rows: Batch, weighted: bool) -> tuple[list[Key], list[str]]:
    """The keys of all tasks and spaces, and the names of those whose metric is not defined.

    Args:
      schema: gives the tasks and their spaces.
      rows: a sample, on the host.
      weighted: whether the sample weights count.
    """
    defined, undefined = [], []
    for column, task in enumerate(schema.tasks):
        for space in task.spaces:
            mask = space_mask(task.name, rows.labels, rows.label_mask, rows.row_mask, schema, space)
            mask &= (rows.sample_weight > 0) | (not weighted)
            weights = rows.sample_weight[mask].astype(np.float64) if weighted else None
            labels = rows.labels[mask, column]
            name, places = f"{task.name}@{space}", np.flatnonzero(mask)
            if len(np.unique(labels)) < 2:
                undefined.append(name)
                continue
            score = functools.partial(logits_in, space, task.name, schema=schema, rows=places)
            defined.append(Key(name, task.kind, places, labels, weights, score))
    return defined, undefined


def r2(rows: Rows, units: Units) -> Influence:
    """1 - squared error / squared deviation of the labels, which is taken as known."""
    w, labels = rows.counts, rows.labels
    deviation = np.average((labels - np.average(labels, weights=w)) ** 2, weights=w)
    return units.quotient(w * (1 - (rows.scores - labels) ** 2 / deviation), w)
