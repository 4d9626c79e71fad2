"""The scores of a split beside its labels, and the rows of each task in each space."""

from __future__ import annotations

import dataclasses

import numpy as np

from dtn_jax.metrics.metric import Rows
from dtn_jax.metrics.spaces import logits_in, space_mask
from dtn_jax.schema import Schema
from dtn_jax.shapes import Bool, Float, Int


@dataclasses.dataclass(frozen=True)
class Scores:
    """A split's logits beside its labels, in row order, on the host.

    Attributes:
      logits: float32 `[B, T]`; a regression task's prediction, in its label's unit.
      labels: `[B, T]`.
      label_mask: `[B, T]`, False where a label is missing.
      sample_weight: `[B]`.
      group: `[B]`, the rows' groups; None where the data set has none.
    """

    logits: Float[np.ndarray, "B T"]
    labels: Float[np.ndarray, "B T"]
    label_mask: Bool[np.ndarray, "B T"]
    sample_weight: Float[np.ndarray, " B"]
    group: Int[np.ndarray, " B"] | None = None

    def rows(self, task: str, space: str, schema: Schema) -> Bool[np.ndarray, " B"]:
        """Which rows have a task's label and belong to a space."""
        everything = np.ones(len(self.logits), bool)
        return space_mask(task, self.labels, self.label_mask, everything, schema, space)

    def of(self, task: str, space: str, schema: Schema):
        """(logits, labels, weights, group) of a task on the rows of a space.

        The logits are of its probability in that space (spaces.py). Views where the space is that
        of its loss, and every row: nothing is copied then.
        """
        column = schema.task_names.index(task)
        mask = self.rows(task, space, schema)
        rows = slice(None) if mask.all() else mask
        group = None if self.group is None else self.group[rows]
        logits = logits_in(space, task, self.logits, schema, rows)
        return logits, self.labels[rows, column], self.sample_weight[rows], group

    def metric_rows(self, task: str, space: str, schema: Schema, bins: int, weighted: bool) -> Rows:
        """What the metrics of a task in a space are computed from; see `evaluate`."""
        logits, labels, weights, group = self.of(task, space, schema)
        kind = schema.tasks[schema.task_names.index(task)].kind
        return Rows(kind, logits, labels, weights if weighted else None, group, bins)
