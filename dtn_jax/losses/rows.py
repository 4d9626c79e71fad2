"""Which rows a task's loss or metric is taken on, and what each counts in the loss.

A row counts when it is no padding, its label is known and it lies in the task's space.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from dtn_jax.input import batch_axis
from dtn_jax.schema import ALL, Schema, choose


def space_mask(
    task: str,
    labels: Float[Array | np.ndarray, "B T"],
    label_mask: Bool[Array | np.ndarray, "B T"],
    row_mask: Bool[Array | np.ndarray, " B"],
    schema: Schema,
    space: str | None = None,
) -> Bool[Array | np.ndarray, " B"]:
    """The rows on which a task's loss or metric is taken; numpy in, numpy out, and so for JAX.

    Args:
      task: the task's name.
      labels: `[B, T]`, in the order of `schema.tasks`.
      label_mask: `[B, T]`, True where the label is known.
      row_mask: `[B]`, False for padding.
      schema: names the tasks.
      space: `all` or a binary task's name; None takes the space of the task's loss.

    Returns:
      `[B]`, True where the row is real, its label of `task` is known and, unless the space is
      `all`, its label of the space's task is known to be 1.

    Raises:
      UserError: an unknown task or space.
      ValueError: labels or label_mask with another number of columns than the schema has tasks.
    """
    names = schema.task_names
    column = names.index(choose("task", task, names))
    for what, array in (("labels", labels), ("label_mask", label_mask)):
        if array.shape[1] != len(names):
            raise ValueError(
                f"{what} has {array.shape[1]} columns, expected {len(names)}: {', '.join(names)}"
            )
    space = schema.tasks[column].space if space is None else space
    mask = row_mask & label_mask[:, column]
    if choose("space", space, [ALL, *names]) != ALL:
        other = names.index(space)
        mask = mask & label_mask[:, other] & (labels[:, other] == 1)
    return mask


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
      sample_weight: `[B]`, or None for equal weights.
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
