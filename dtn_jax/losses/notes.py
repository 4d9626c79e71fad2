"""What a run says of its losses before it trains: scores that are no probabilities, and a loss that
dwarfs the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from dtn_jax.balancing import NONE
from dtn_jax.data.epochs.reader import SplitReader
from dtn_jax.data.prepared import Prepared
from dtn_jax.losses.by_task import TaskLoss
from dtn_jax.losses.squared_error import SquaredError
from dtn_jax.metrics.spaces import made_of
from dtn_jax.options import per_task
from dtn_jax.schema import Schema
from dtn_jax.shapes import Bool, Float

LOOKED_AT = 100_000  # rows of train
BINARY, TIMES = 0.7, 20  # a binary task's first loss; how many times as large is too large
# Balancers with which a loss of another unit pulls as hard as without one.
KEEP_UNITS = (NONE, "rlw", "dwa", "pcgrad", "gradvac", "cagrad", "upgrad")


def notes(
    loss: ConfigDict | FrozenConfigDict, losses: Sequence[TaskLoss], data: Prepared, schema: Schema
) -> Iterator[str]:
    """The lines; of `losses`, of all tasks, by the section `loss` of a config, on a run's data."""
    yield from improper(losses, schema)
    if len({task.kind for task in schema.tasks}) > 1:
        rows = SplitReader(data, "train").picked(np.arange(min(LOOKED_AT, data.rows["train"])))
        yield from large(losses, loss, schema, rows.labels, rows.label_mask)


def improper(losses: Sequence[TaskLoss], schema: Schema) -> Iterator[str]:
    """A line for each task whose score is no probability, with what takes it for one."""
    for chosen in losses:
        if not chosen.improper:
            continue
        read = [task.name for task in schema.tasks if chosen.task in task.upstream]
        read += [
            f"{task.name}@{space}"
            for task in schema.tasks
            for space in task.spaces
            if space != task.space and chosen.task in made_of(task.name, space, schema)
        ]
        for_one = f"; {', '.join(read)} may take them for such" if read else ""
        yield (
            f"note: the {chosen.improper} of {chosen.task} gives scores, not probabilities: mean "
            "pred. and ECE show how far off they are, and export calibrates them on "
            f"validation{for_one}"
        )


def large(
    losses: Sequence[TaskLoss],
    loss: ConfigDict | FrozenConfigDict,
    schema: Schema,
    labels: Float[np.ndarray, "B T"],
    label_mask: Bool[np.ndarray, "B T"],
) -> Iterator[str]:
    """A line for each regression that begins with a squared error TIMES as large as a binary loss.

    What tasks share is then trained for it alone: on a log of a shop, seconds of watching took the
    AUC of order from 0.74 to 0.46.
    """
    if loss.balancing not in KEEP_UNITS:
        return
    weights = per_task(loss.task_weights, schema.task_names, "loss.task_weights", 1.0)
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
