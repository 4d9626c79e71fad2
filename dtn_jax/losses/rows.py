"""What each row counts in each task's loss.

A row counts when it is no padding, its label is known and it lies in the task's space.
"""

from __future__ import annotations

import jax.numpy as jnp

from dtn_jax.data.epochs import batch_axis
from dtn_jax.metrics.spaces import space_mask
from dtn_jax.schema import Schema
from dtn_jax.shapes import Array, Bool, Float


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
