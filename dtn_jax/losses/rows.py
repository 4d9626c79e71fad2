"""What each row counts in each task's loss.

A row counts when it is no padding, its label is known and it lies in the task's space.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from ml_collections import ConfigDict

from dtn_jax.data.epochs import batch_axis
from dtn_jax.interface import Batch, Label
from dtn_jax.metrics.spaces import space_mask
from dtn_jax.schema import Schema
from dtn_jax.shapes import Array, Bool, Float


class Weights(NamedTuple):
    """What rows count: `tasks [B, T]` in each task's loss, `rows [B]` in auxiliary losses, which
    read `labels`."""

    tasks: Array
    rows: Array
    labels: dict[str, Label]


def row_weights(
    labels: Float[Array, "B T"],
    label_mask: Bool[Array, "B T"],
    row_mask: Bool[Array, " B"],
    sample_weight: Float[Array, " B"] | None,
    schema: Schema,
) -> Float[Array, "B T"]:
    """What each row counts in each task's loss: 1 in all, or 0 where a space is empty.

    The count is over the whole batch: under `jax.jit` with a sharded batch it is global, and where
    the batch is split over a `batch_axis` this device's rows get their share. So the loss depends
    neither on the number of devices nor on the parts that the rows are taken in.

    Args:
      labels: `[B, T]`, in the order of `schema.tasks`.
      label_mask: `[B, T]`, True where the label is known.
      row_mask: `[B]`, False for padding.
      sample_weight: `[B]`, `Batch.in_loss`; or None for equal weights.
      schema: gives each task's space.
    """
    weights = []
    for task in schema.tasks:
        mask = space_mask(task.name, labels, label_mask, row_mask, schema)
        weight = jnp.ones_like(labels[:, 0]) if sample_weight is None else sample_weight
        weight = jnp.where(mask, weight.astype(jnp.result_type(float)), 0)  # float64 with x64
        count = batch_axis.total(jnp.sum(weight))
        weights.append(jnp.where(count > 0, weight / jnp.where(count > 0, count, 1), 0))
    return jnp.stack(weights, axis=1)


def make_weights(loss: ConfigDict, batch: Batch, schema: Schema) -> Weights:
    """What a batch's rows count; `loss` is the section of a config."""
    given = batch.in_loss() if loss.sample_weights else None
    real = batch.row_mask.astype(jnp.result_type(float))
    rows = batch.labels, batch.label_mask, batch.row_mask
    return Weights(
        tasks=row_weights(*rows, given, schema),
        rows=real / jnp.maximum(batch_axis.total(real.sum()), 1),
        labels=labels_of(batch, schema),
    )


def labels_of(batch: Batch, schema: Schema) -> dict[str, Label]:
    """Of each task, the labels of a batch in its space, and what they are in all of it."""
    rows = batch.labels, batch.label_mask, batch.row_mask, schema
    known = jnp.stack([space_mask(task, *rows) for task in schema.task_names], axis=1)
    positives = batch_axis.total(jnp.sum(known & (batch.labels == 1), axis=0))
    rows = batch_axis.total(jnp.sum(batch.row_mask))

    def everywhere(total: Array) -> Array:
        return jnp.broadcast_to(total.astype(batch.labels.dtype), batch.row_mask.shape)

    return {
        task: Label(batch.labels[:, t], known[:, t], everywhere(positives[t]), everywhere(rows))
        for t, task in enumerate(schema.task_names)
    }
