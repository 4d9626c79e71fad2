"""Per-task losses: a mean over the task's space, with masks and weights.

Binary tasks have the cross-entropy of the logit z with label y and positive weight w,

    -w y log(sigmoid(z)) - (1 - y) log(sigmoid(-z)) = w y softplus(-z) + (1 - y) softplus(z),

regression tasks the squared error (z - y)^2. A row counts when it is no padding, its label is
known and it lies in the task's space; whatever stands in other rows, NaN too, reaches neither
the loss nor a gradient (values are replaced by `where` before they are used, and once more
after: a product with 0 would keep NaN).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dtn_jax.input import batch_axis
from dtn_jax.metrics.spaces import space_mask
from dtn_jax.options import option
from dtn_jax.schema import Schema, UserError, choose, per_task


@dataclasses.dataclass(frozen=True)
class LossOptions:
    """Section `loss`."""

    task_weights: str = option("", "'click=1,order=0.5'; tasks not named have 1")
    positive_weights: str = option("", "w of positives in a binary task's loss, 'click=200'")
    sample_weights: bool = option(False, "weight examples by the schema's weight column")


def read_positive_weights(text: str, schema: Schema) -> dict[str, float]:
    """{task: its w}, from 'click=200,order=3000'; 1 where a task is not named.

    Raises:
      UserError: an unknown task, or no number above 0.
    """
    what = "loss.positive_weights"
    weights = per_task(text, schema.task_names, what, 1.0)
    for task, weight in weights.items():
        if not weight:
            raise UserError(f"{what}: expected a number above 0 for {task}, got {text!r}")
    return weights


def inflation(positive_weights: Mapping[str, float], schema: Schema) -> dict[str, float]:
    """{task: log w}: how far weighing positives by w moves the best logit off that of p."""
    return {
        task.name: math.log(positive_weights.get(task.name, 1)) if task.kind == "binary" else 0.0
        for task in schema.tasks
    }


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


def losses(
    logits: Mapping[str, Float[Array, " B"]],
    labels: Float[Array, "B T"],
    weights: Float[Array, "B T"],
    schema: Schema,
    positive_weights: Mapping[str, float | int],
) -> dict[str, Float[Array, ""]]:
    """Per task, the mean loss over its space; computed in float32 or wider.

    Where `B` are not all rows of the batch, the parts' results add up to the loss.

    Args:
      logits: {task: `[B]`}; of a regression task, the prediction itself.
      labels: `[B, T]`, in the order of `schema.tasks`; 0 or 1 for binary tasks.
      weights: `[B, T]`, from `row_weights`.
      schema: gives each task's kind.
      positive_weights: {binary task: w}; tasks not named have 1. The denominator stays the
        (weighted) count of rows, so w scales the positives' part of the loss.

    Returns:
      {task: scalar}: nats for binary tasks, squared label units for regression; exactly 0, with
      gradients of exactly 0, where the space is empty or all its weights are 0.

    Raises:
      UserError: a positive weight for an unknown task.
      KeyError: a task without logits.
    """
    for name in positive_weights:
        choose("task in positive_weights", name, schema.task_names)
    result = {}
    for column, task in enumerate(schema.tasks):
        mask = weights[:, column] > 0
        z = logits[task.name]
        z = jnp.where(mask, z, 0).astype(jnp.promote_types(z.dtype, jnp.float32))
        y = jnp.where(mask, labels[:, column], 0).astype(z.dtype)
        if task.kind == "binary":
            w = positive_weights.get(task.name, 1.0)
            per_row = w * y * jax.nn.softplus(-z) + (1 - y) * jax.nn.softplus(z)
        else:
            per_row = jnp.square(z - y)
        weight = weights[:, column].astype(z.dtype)
        result[task.name] = jnp.sum(jnp.where(mask, weight * per_row, 0))
    return result
