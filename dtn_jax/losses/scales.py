"""Regressions whose losses dwarf those of the other tasks, since their labels are in raw units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dtn_jax.losses.by_task import TaskLoss
from dtn_jax.losses.squared_error import SquaredError
from dtn_jax.options import per_task
from dtn_jax.schema import Schema
from dtn_jax.shapes import Bool, Float

BINARY, TIMES = 0.7, 20  # a binary task's first loss; how many times as large is too large


def notes(
    losses: Sequence[TaskLoss],
    task_weights: str,
    schema: Schema,
    labels: Float[np.ndarray, "B T"],
    label_mask: Bool[np.ndarray, "B T"],
) -> Iterator[str]:
    """A line for each regression that begins with a squared error TIMES as large as a binary loss.

    What tasks share is then trained for it alone: on a log of a shop, seconds of watching took the
    AUC of order from 0.74 to 0.46.

    Args:
      losses: of all tasks.
      task_weights: `loss.task_weights`.
      schema: of the run; without a binary task there is no note.
      labels, label_mask: of some rows of train.
    """
    weights = per_task(task_weights, schema.task_names, "loss.task_weights", 1.0)
    if all(task.kind == "regression" for task in schema.tasks):
        return
    for column, chosen in enumerate(losses):
        task, known = chosen.task, labels[label_mask[:, column], column].astype(np.float64)
        first = weights[task] * np.square(known).mean() if known.size else 0.0
        if isinstance(chosen.loss, SquaredError) and first > TIMES * BINARY:
            yield (
                f"note: the squared error of {task} is {first:,.0f} at first, a binary task's loss "
                f"{BINARY:g}: what tasks share will be trained for {task} alone. Give "
                f"--config.loss.tasks={task}=log_normal, if no label is below 0, or "
                f"--config.loss.task_weights={task}={BINARY * weights[task] / first:.1g}"
            )
