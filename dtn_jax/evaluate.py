"""Scores of a split, and the metrics of every task in every space."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import pathlib
from collections.abc import Callable

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float

from dtn_jax import metrics
from dtn_jax.datasets.catalog import Prepared
from dtn_jax.input_pipeline import in_order
from dtn_jax.losses import space_mask
from dtn_jax.prefetch import prefetched
from dtn_jax.schema import Schema
from dtn_jax.sharding import Placement
from dtn_jax.state import State

IN_FLIGHT = 4  # batches on the device at most: their memory is bounded, and it never waits


@dataclasses.dataclass(frozen=True)
class Scores:
    """A split's logits beside its labels, in row order, on the host.

    Attributes:
      logits: float32 `[B, T]`; a regression task's prediction.
      labels: `[B, T]`.
      label_mask: `[B, T]`, False where a label is missing.
      sample_weight: `[B]`.
    """

    logits: Float[np.ndarray, "B T"]
    labels: Float[np.ndarray, "B T"]
    label_mask: Bool[np.ndarray, "B T"]
    sample_weight: Float[np.ndarray, " B"]

    def of(self, task: str, space: str, schema: Schema):
        """(logits, labels, weights) of a task on the rows of a space."""
        column = schema.task_names.index(task)
        everything = np.ones(len(self.logits), bool)
        mask = space_mask(task, self.labels, self.label_mask, everything, schema, space)
        picked = (self.logits[mask, column], self.labels[mask, column], self.sample_weight[mask])
        return picked


def score(
    score_step: Callable, state: State, data: Prepared, split: str, batch_size: int, at: Placement
) -> Scores:
    """Scores a whole split; the ids are checked on the way (see `catalog.check_ids`).

    The next batch is read while the device works on the last ones, of which only a few wait there.
    """
    labels, masks, weights, logits = [], [], [], []
    in_flight: collections.deque[jax.Array] = collections.deque()
    with contextlib.closing(prefetched(in_order(data, split, batch_size))) as batches:
        for batch in batches:
            real = int(batch.row_mask.sum())
            labels.append(batch.labels[:real])
            masks.append(batch.label_mask[:real])
            weights.append(batch.sample_weight[:real])
            in_flight.append(score_step(state, jax.device_put(batch, at.batch())))
            if len(in_flight) == IN_FLIGHT:
                logits.append(np.asarray(in_flight.popleft(), np.float32))
    logits += [np.asarray(z, np.float32) for z in in_flight]
    labels = np.concatenate(labels)
    return Scores(
        logits=np.concatenate(logits)[: len(labels)],
        labels=labels,
        label_mask=np.concatenate(masks),
        sample_weight=np.concatenate(weights),
    )


def evaluate(scores: Scores, schema: Schema, bins: int, weighted: bool) -> dict[str, dict]:
    """{task@space: {metric: value}}; a metric that is not defined is None.

    Args:
      scores: of one split.
      schema: gives the tasks and their spaces.
      bins: of the expected calibration error.
      weighted: whether sample weights count.
    """
    results = {}
    for task in schema.tasks:
        for space in task.spaces:
            logits, labels, weights = scores.of(task.name, space, schema)
            weights = weights if weighted else None
            if task.kind == "binary":
                found = metrics.binary_metrics(logits, labels, weights, bins)
            else:
                found = metrics.regression_metrics(logits, labels, weights)
            results[f"{task.name}@{space}"] = found
    return results


def calibration(scores: Scores, schema: Schema, bins: int, weighted: bool):
    """{task@space: CalibrationCurve} of the binary tasks, each in the space of its loss."""
    curves = {}
    for task in schema.tasks:
        if task.kind == "binary":
            logits, labels, weights = scores.of(task.name, task.space, schema)
            curves[f"{task.name}@{task.space}"] = metrics.calibration_curve(
                metrics.sigmoid(logits), labels, bins, weights if weighted else None
            )
    return curves


def write_predictions(path: pathlib.Path, scores: Scores, schema: Schema) -> None:
    """A row an example: `row`, `sample_weight`, and per task `score/`, `logit/` and `label/`.

    Scores are probabilities (a regression task's prediction); a missing label is null.
    """
    columns = {"row": pa.array(np.arange(len(scores.logits)))}
    columns["sample_weight"] = pa.array(scores.sample_weight)
    for i, task in enumerate(schema.tasks):
        logits = scores.logits[:, i]
        if task.kind == "binary":
            columns[f"score/{task.name}"] = pa.array(metrics.sigmoid(logits))
            columns[f"logit/{task.name}"] = pa.array(logits)
        else:
            columns[f"score/{task.name}"] = pa.array(logits)
        missing = ~scores.label_mask[:, i]
        columns[f"label/{task.name}"] = pa.array(scores.labels[:, i], mask=missing)
    pq.write_table(pa.table(columns), path, compression="zstd")
