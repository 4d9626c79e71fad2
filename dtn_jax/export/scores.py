"""From a program's logits to what a model gives: a task's probability in each of its spaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.export import calibration
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.metrics.spaces import logits_in, made_of
from dtn_jax.schema import Schema
from dtn_jax.shapes import Float

SCORE = "score, not a probability"


def outputs(schema: Schema, tasks: Sequence[str]) -> tuple[str, ...]:
    """The columns `task@space`: of each task its own space first, then those that it reports."""
    return tuple(f"{t.name}@{s}" for t in schema.tasks if t.name in tasks for s in t.spaces)


def scores(
    logits: Float[np.ndarray, "B T"],
    schema: Schema,
    tasks: Sequence[str],
    calibrations: Mapping[str, Mapping],
) -> dict[str, Float[np.ndarray, " B"]]:
    """{task@space: float64 `[B]`}: calibrated probabilities; a regression's prediction.

    Args:
      logits: of all tasks of the schema, each in the space of its loss; NaN gives NaN.
      schema: of the model.
      tasks: those that are given.
      calibrations: see `calibration.apply`.
    """
    found = {}
    with np.errstate(invalid="ignore"):  # NaN
        known = calibration.apply(calibrations, logits, schema)
        for task in [task for task in schema.tasks if task.name in tasks]:
            for space in task.spaces:
                values = logits_in(space, task.name, known, schema)
                binary = task.kind == "binary"
                found[f"{task.name}@{space}"] = sigmoid(values) if binary else values
    return found


def meanings(
    schema: Schema,
    tasks: Sequence[str],
    improper: Mapping[str, str],
    calibrations: Mapping[str, Mapping],
) -> dict[str, str]:
    """{task@space: what the output is, in words}: a probability, a score or a prediction.

    Args:
      schema, tasks, calibrations: as of `scores`.
      improper: {task: what keeps its uncalibrated score from being a probability}.
    """
    raw = {t for t in improper if calibrations.get(t, calibration.NONE)["method"] == "none"}
    found = {}
    for task in [task for task in schema.tasks if task.name in tasks]:
        for space in task.spaces:
            parts = made_of(task.name, space, schema)
            because = [f"{improper[name]} of {name}" for name in parts if name in raw]
            if task.kind != "binary":
                told = "prediction, in the label's unit"
            elif because:
                told = f"{SCORE} ({', '.join(because)})"
            elif parts == [task.name] and task.name in improper:
                told = f"probability, calibrated on validation ({improper[task.name]})"
            else:
                told = "probability"
            found[f"{task.name}@{space}"] = told
    return found
