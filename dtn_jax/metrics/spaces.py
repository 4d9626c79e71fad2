"""From the space of a task's loss to another: p(order | impression) is not p(order | click).

A task that is reported on the rows where another one happened is taken to happen only there, as
along a funnel: where `t` has happened, so has `s`. Then

    p(t | s) = p(t | all) / p(s | all)        p(t | all) = p_t p(space of t's loss | all)

with p_t what the model says of t in the space of its loss. A model of each task by itself may say
p(t | all) > p(s | all); what follows is held to SURE. ESMM's quotient is its own tower, exactly.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dtn_jax.schema import ALL, Schema

SURE = 1 - 1e-6  # the highest probability that a quotient is taken for


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
    own = schema.tasks[column]
    if space == own.space or own.kind == "regression":
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
