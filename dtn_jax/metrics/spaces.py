"""Label spaces: the rows of one, and what a task's probability is there.

p(order | impression) is not p(order | click). A task that is reported on the rows where another one
happened is taken to happen only there, as along a funnel: where `t` has happened, so has `s`. Then

    p(t | s) = p(t | all) / p(s | all)        p(t | all) = p_t p(space of t's loss | all)

with p_t what the model says of t in the space of its loss. A model of each task by itself may say
p(t | all) > p(s | all); what follows is held to SURE. ESMM's quotient is its own tower, exactly.
`dtn_jax.data.stages.limits` counts the rows of a log that have `t` without `s`.
"""

from __future__ import annotations

import numpy as np
from jax import Array

from dtn_jax.errors import choose
from dtn_jax.schema import ALL, Schema, factors
from dtn_jax.shapes import Bool, Float

SURE = 1 - 1e-6  # the highest probability that a quotient is taken for


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
    """
    names = schema.task_names
    column = names.index(choose("task", task, names))
    space = schema.tasks[column].space if space is None else space
    mask = row_mask & label_mask[:, column]
    if choose("space", space, [ALL, *names]) != ALL:
        other = names.index(space)
        mask = mask & label_mask[:, other] & (labels[:, other] == 1)
    return mask


def made_of(task: str, space: str, schema: Schema) -> list[str]:
    """The tasks whose probabilities make that of a task in a space."""
    chosen = schema.tasks[schema.task_names.index(task)]
    if space == chosen.space:
        return [task]
    spaces = {task.name: task.space for task in schema.tasks}
    return list(dict.fromkeys((*factors(task, spaces), *factors(space, spaces))))


def logits_in(
    space: str,
    task: str,
    logits: Float[np.ndarray, "B T"],
    schema: Schema,
    rows: np.ndarray | slice = slice(None),
) -> Float[np.ndarray, " N"]:
    """The logits of a task's probability in a space, on these rows; a regression's prediction.

    Args:
      space, task: names.
      logits: of all tasks, each in the space of its loss, in the schema's order.
      schema: of the data set.
      rows: a mask or their places; default all, and then a task in its own space is a view.
    """
    column = schema.task_names.index(task)
    chosen = schema.tasks[column]
    if space == chosen.space or chosen.kind == "regression":
        return logits[rows, column]

    def log_probability(name: str) -> np.ndarray | float:
        """log p(name | all)."""
        if name == ALL:
            return 0.0
        at = schema.task_names.index(name)
        in_its_own = -np.logaddexp(0, -logits[rows, at].astype(np.float64))
        return in_its_own + log_probability(schema.tasks[at].space)

    log_p = np.minimum(log_probability(task) - log_probability(space), np.log(SURE))
    return (log_p - np.log(-np.expm1(log_p))).astype(logits.dtype)
