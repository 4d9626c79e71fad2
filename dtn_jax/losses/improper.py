"""Tasks whose scores are no probabilities, since their losses are not proper: a note of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dtn_jax.losses.by_task import TaskLoss
from dtn_jax.metrics.spaces import made_of
from dtn_jax.schema import Schema


def notes(losses: Sequence[TaskLoss], schema: Schema) -> Iterator[str]:
    """A line for each task whose score is no probability, with what takes it for one.

    Args:
      losses: of all tasks.
      schema: of the run, with its task graph.
    """
    for own in losses:
        if not own.improper:
            continue
        below = [task.name for task in schema.tasks if own.task in task.upstream]
        derived = [
            f"{task.name}@{space}"
            for task in schema.tasks
            for space in task.spaces
            if space != task.space and own.task in made_of(task.name, space, schema)
        ]
        told = ""
        if below:
            told += f". For {', '.join(below)}, DTN's tsn, ESMM and AITM read them as probabilities"
        if derived:
            told += f". They are also part of {', '.join(derived)}"
        yield (
            f"note: the {own.improper} of {own.task} gives scores, not probabilities: mean pred. "
            f"and ECE show how far off they are, and export calibrates them on validation{told}"
        )
