"""What importance is measured by: AUC (R² for a regression), and each row's influence on it.

To first order a metric m of B independent rows moves by psi_i when row i counts once more than it
does, so the variance of m is sum psi_i², and that of a difference of two metrics on the same rows
is the sum of the squared differences of their psi. For AUC this is DeLong's estimate (Biometrics
44, 1988), written with 1/n where he has 1/(n - 1):

    psi_i =  w_i (share of negatives that positive i beats - AUC) / sum of the positives' w
    psi_j =  w_j (share of positives that beat negative j - AUC) / sum of the negatives' w

ties counting half.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from dtn_jax.interface import Batch
from dtn_jax.metrics import METRICS, Metric
from dtn_jax.metrics.spaces import logits_in, space_mask
from dtn_jax.schema import Schema
from dtn_jax.shapes import Float, Int, Shaped

STEP = 1e-6  # of the logits, for differences in float64


@dataclasses.dataclass(frozen=True)
class Key:
    """A task in a space, on the rows of a sample that are in it.

    Attributes:
      name: `task@space`.
      kind: the task's.
      column: of the scores: the task's own logit, in the space of its loss.
      rows: their places in the sample.
      labels: of those rows.
      weights: of those rows; None where all count the same.
      score: from all tasks' logits `[B, T]` that of the task in the space, `[N]` (spaces.py);
        None takes the column as it is.
    """

    name: str
    kind: str
    column: int
    rows: Int[np.ndarray, " N"]
    labels: Float[np.ndarray, " N"]
    weights: Float[np.ndarray, " N"] | None
    score: Callable[[Float[np.ndarray, "B T"]], Float[np.ndarray, " N"]] | None = None

    @property
    def metric(self) -> Metric:
        """What `measure` gives: AUC, or R² of a regression."""
        return METRICS["auc" if self.kind == "binary" else "r2"]

    def measure(self, scores: Float[np.ndarray, "B C"]) -> tuple[float, Float[np.ndarray, " N"]]:
        """The metric, and the influence of each of the key's rows on it."""
        own = self.score(scores) if self.score else scores[self.rows, self.column]
        measure = auc if self.kind == "binary" else r2
        return measure(own, self.labels, self.weights)

    def slopes(self, scores: Float[np.ndarray, "B C"]) -> Float[np.ndarray, "N C"]:
        """The derivatives of the score of each of the key's rows with respect to each column.

        By differences, so that they are those of `score`'s own formula, whatever it is.
        """
        steps = STEP * np.eye(scores.shape[1])
        if self.score is None:
            return np.tile(steps[self.column] / STEP, (len(self.rows), 1))
        scores = scores.astype(np.float64)
        ends = ((self.score(scores + step), self.score(scores - step)) for step in steps)
        return np.stack([(high - low) / (2 * STEP) for high, low in ends], axis=1)


def keys(schema: Schema, rows: Batch, weighted: bool) -> tuple[list[Key], list[str]]:
    """The keys of all tasks and spaces, and the names of those whose metric is not defined.

    Args:
      schema: gives the tasks and their spaces.
      rows: a sample, on the host.
      weighted: whether the sample weights count.
    """
    found, undefined = [], []
    for column, task in enumerate(schema.tasks):
        for space in task.spaces:
            mask = space_mask(task.name, rows.labels, rows.label_mask, rows.row_mask, schema, space)
            weights = rows.sample_weight[mask].astype(np.float64) if weighted else None
            labels = rows.labels[mask, column]
            counted = labels if weights is None else labels[weights > 0]
            name, own = f"{task.name}@{space}", np.flatnonzero(mask)
            score = functools.partial(logits_in, space, task.name, schema=schema, rows=own)
            other = score if space != task.space else None
            key = Key(name, task.kind, column, own, labels, weights, other)
            if len(np.unique(counted)) > 1:
                found.append(key)
            else:
                undefined.append(key.name)
    return found, undefined


def auc(
    scores: Float[np.ndarray, " N"],
    labels: Shaped[np.ndarray, " N"],
    weights: Float[np.ndarray, " N"] | None = None,
) -> tuple[float, Float[np.ndarray, " N"]]:
    """AUC with ties, as `metrics.auc.auc`, and psi `[N]`.

    Args:
      scores: `[N]`.
      labels: `[N]`, 0 or 1; both must be there.
      weights: `[N]`, >= 0.
    """
    order = np.argsort(scores)
    ordered = scores[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    ends = np.append(starts[1:], len(scores))  # of each run of equal scores
    positive = (labels[order] == 1).astype(np.float64)
    weight = np.ones(len(scores)) if weights is None else weights[order].astype(np.float64)
    shares, totals = [], []
    for counted in (weight * (1 - positive), weight * positive):
        below = np.concatenate([[0.0], np.cumsum(counted)])
        halfway = (below[starts] + below[ends]) / 2
        totals.append(below[-1])
        shares.append(np.repeat(halfway, ends - starts) / below[-1])
    won, lost = shares[0], 1 - shares[1]  # against negatives, and against positives
    value = float(positive * weight @ won / totals[1])
    psi = np.empty(len(scores))
    psi[order] = weight * np.where(
        positive == 1, (won - value) / totals[1], (lost - value) / totals[0]
    )
    return value, psi


def r2(
    predictions: Float[np.ndarray, " N"],
    labels: Shaped[np.ndarray, " N"],
    weights: Float[np.ndarray, " N"] | None = None,
) -> tuple[float, Float[np.ndarray, " N"]]:
    """R² = 1 - squared error / squared deviation of the labels, which is taken as known, and psi
    `[N]`."""
    weight = np.ones(len(labels)) if weights is None else weights.astype(np.float64)
    weight = weight / weight.sum()
    labels = labels.astype(np.float64)
    deviation = weight @ (labels - weight @ labels) ** 2
    explained = 1 - (predictions - labels) ** 2 / deviation
    value = float(weight @ explained)
    return value, weight * (explained - value)
