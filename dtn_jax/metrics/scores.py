"""The scores of a split beside its labels, in memory and in a file, and the rows of each task in
each space."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dtn_jax.errors import RETRAIN
from dtn_jax.files import reading, replacing
from dtn_jax.metrics.metric import Rows
from dtn_jax.metrics.sigmoid import sigmoid
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


def write_predictions(path: pathlib.Path, scores: Scores, schema: Schema) -> None:
    """A row an example: `row`, `sample_weight`, and per task `score/`, `logit/` and `label/`.

    Scores are probabilities (a regression's are in its label's unit); a missing label is null.
    Where the data set has groups, a row's is in `group`, as stored.
    """
    columns = {"row": pa.array(np.arange(len(scores.logits)))}
    columns["sample_weight"] = pa.array(scores.sample_weight)
    if scores.group is not None:
        columns["group"] = pa.array(scores.group)
    for i, task in enumerate(schema.tasks):
        logits = scores.logits[:, i]
        if task.kind == "binary":
            columns[f"score/{task.name}"] = pa.array(sigmoid(logits))
            columns[f"logit/{task.name}"] = pa.array(logits)
        else:
            columns[f"score/{task.name}"] = pa.array(logits)
        missing = ~scores.label_mask[:, i]
        columns[f"label/{task.name}"] = pa.array(scores.labels[:, i], mask=missing)
    with replacing(path) as temporary:
        table = pa.table(columns)
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def read_predictions(path: pathlib.Path, schema: Schema) -> Scores:
    """The scores that `write_predictions` wrote.

    Raises:
      UserError: the file is missing or damaged.
    """
    with reading(path, RETRAIN):
        table = pq.read_table(path, page_checksum_verification=True)

        def matrix(columns):
            return np.stack([table[c].to_numpy().astype(np.float32) for c in columns], axis=1)

        kinds = ["logit/" if task.kind == "binary" else "score/" for task in schema.tasks]
        labels = matrix([f"label/{task.name}" for task in schema.tasks])
        return Scores(
            logits=matrix([kind + task.name for kind, task in zip(kinds, schema.tasks)]),
            labels=np.nan_to_num(labels),
            label_mask=~np.isnan(labels),
            sample_weight=table["sample_weight"].to_numpy().astype(np.float32),
            group=table["group"].to_numpy() if "group" in table.column_names else None,
        )
