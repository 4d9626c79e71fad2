"""From a program's logits to what a model gives: calibrated probabilities in each task's spaces.

calibration.json says what turns a task's logit into a calibrated one. It needs numpy alone.

    none       the logit as it is
    platt      slope * logit + intercept
    isotonic   probability to probability, straight between breakpoints

Each is of a task in the space of its loss. Probabilities in other spaces follow from the
calibrated ones, by metrics/spaces.py. `fit_calibration.py` fits them and says why.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.errors import choose
from dtn_jax.export.model_folder import CALIBRATION, reading
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.metrics.spaces import logits_in, made_of
from dtn_jax.schema import Schema
from dtn_jax.shapes import Float

METHODS = ("none", "platt", "isotonic")  # simplest first
NONE = {"method": "none"}
SCORE = "score, not a probability"


def read(folder: pathlib.Path, schema: Schema) -> dict[str, dict]:
    """{task: its calibration} of an exported model, of each of the schema's tasks.

    Raises:
      UserError: calibration.json is missing or damaged.
    """
    with reading(folder / CALIBRATION) as path:
        stored = json.loads(path.read_text())
        for calibration in stored.values():
            choose("method", calibration["method"], METHODS)
    return {task: stored.get(task, NONE) for task in schema.task_names}


def apply(calibrations: Mapping[str, Mapping], logits: np.ndarray, schema: Schema) -> np.ndarray:
    """Calibrated logits, float64 `[B, T]`.

    Args:
      calibrations: {task: calibration}; a task that is not there stays as it is.
      logits: `[B, T]`, each task's in the space of its loss, in the order of `schema.tasks`; a
        regression's prediction, which stays as it is.
      schema: names the tasks.
    """
    tasks = zip(schema.task_names, logits.T, strict=True)
    return np.stack([calibrated(calibrations.get(name, NONE), z) for name, z in tasks], axis=1)


def calibrated(calibration: Mapping, logits: np.ndarray) -> np.ndarray:
    """The calibrated logits of one task, float64 `[B]`."""
    z = logits.astype(np.float64)
    if calibration["method"] == "none":
        return z
    if calibration["method"] == "platt":
        return calibration["slope"] * z + calibration["intercept"]
    p = np.exp(-np.logaddexp(0.0, -z))
    p = np.interp(p, calibration["predicted"], calibration["observed"])
    return np.log(p) - np.log1p(-p)


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
      calibrations: see `apply`.
    """
    columns = {}
    with np.errstate(invalid="ignore"):  # NaN
        known = apply(calibrations, logits, schema)
        for task in [task for task in schema.tasks if task.name in tasks]:
            for space in task.spaces:
                values = logits_in(space, task.name, known, schema)
                binary = task.kind == "binary"
                columns[f"{task.name}@{space}"] = sigmoid(values) if binary else values
    return columns


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
    raw = {t for t in improper if calibrations.get(t, NONE)["method"] == "none"}
    kinds, words = {task.name: task.kind for task in schema.tasks}, {}
    for output in outputs(schema, tasks):
        task, _, space = output.partition("@")
        why = ", ".join(improper[t] for t in made_of(task, space, schema) if t in raw)
        words[output] = f"{SCORE} ({why})" if why else "probability"
        if kinds[task] != "binary":
            words[output] = "prediction, in the label's unit"
    return words
