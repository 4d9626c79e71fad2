"""What the positives of a task weigh in its loss.

Positives that weigh w move the best logit up by log w. The loss adds that itself (`task_losses`),
so logits are log-odds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from dtn_jax.errors import UserError
from dtn_jax.options import per_task
from dtn_jax.schema import Schema

WHAT = "loss.positive_weights"


def read_positive_weights(text: str, schema: Schema) -> dict[str, float]:
    """{task: its w}, from 'click=200,order=3000'; 1 where a task is not named.

    Raises:
      UserError: an unknown task, no number above 0, or another than 1 for a regression task.
    """
    weights = per_task(text, schema.task_names, WHAT, 1.0)
    for task in schema.tasks:
        if not weights[task.name]:
            raise UserError(f"{WHAT}: expected a number above 0 for {task.name}, got {text!r}")
        if task.kind != "binary" and weights[task.name] != 1:
            raise UserError(f"{WHAT}: {task.name} is a {task.kind} task, which has no positives")
    return weights


def inflation(positive_weights: Mapping[str, float], schema: Schema) -> dict[str, float]:
    """{task: log w}: how far above the log-odds the logit is that a task's weighed loss fits."""
    return {
        task.name: math.log(positive_weights.get(task.name, 1)) if task.kind == "binary" else 0.0
        for task in schema.tasks
    }


def inflation_by(text: str, schema: Schema) -> dict[str, float]:
    """`inflation` of the weights that `loss.positive_weights` gives."""
    return inflation(read_positive_weights(text, schema), schema)
