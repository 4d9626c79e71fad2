"""Which state is the best so far, by `train.select` and for each task, and when to stop."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping

import numpy as np

from dtn_jax.checkpoint import Checkpoints
from dtn_jax.run import Run, measure, score_split, selected_tasks
from dtn_jax.schema import Task, UserError
from dtn_jax.state import State
from dtn_jax.workdir import Workdir


@dataclasses.dataclass
class Progress:
    """The part of a run that is not arrays; saved with every checkpoint.

    Attributes:
      best: per selection (`train.select` and each task) the best validation value and its step.
      waited: validations since the watched value last rose.
      stopped: whether early stopping has struck.
      loss_sum, loss_steps: of the training losses since the last logged line.
    """

    best: dict[str, dict]
    waited: int
    stopped: bool
    loss_sum: list[float]
    loss_steps: int


def validate(
    run: Run, folder: Workdir, checkpoints: Checkpoints, state: State, step: int, progress: Progress
) -> dict[str, float | None]:
    """Scores validation, keeps the state where it is the best so far, minds early stopping.

    Returns {`train.select` and each task: the value that selection maximises}.
    """
    scores = score_split(run, state, "validation")
    if not np.isfinite(scores.logits).all():
        raise UserError(
            f"the scores of step {step} are not finite: lower optim.learning_rate or "
            "optim.table_learning_rate, or set optim.clip, in a new workdir"
        )
    results = measure(run, scores)
    values = {t.name: selection_value(t, results[f"{t.name}@{t.space}"]) for t in run.schema.tasks}
    select = run.config.train.select
    chosen = selected_tasks("train.select", select, run.schema)
    found = {select: mean_of([values[name] for name in chosen])} | values
    better = [
        name
        for name, value in found.items()
        if name not in progress.best
        or (value is not None and value > _or_lowest(progress.best[name]["value"]))
    ]
    for name in better:
        progress.best[name] = {"value": found[name], "step": step}
    if better:
        checkpoints.save_best(step, state)
    progress.waited = 0 if select in better else progress.waited + 1
    progress.stopped = 0 < run.config.train.patience <= progress.waited
    record = {"kind": "validation", "step": step, "epoch": step / run.steps_per_epoch}
    record |= {f"{k}/{m}": v for k, found in results.items() for m, v in found.items()}
    folder.log(record | {"mean": mean_of(values.values()), "selected": found[select]})
    return found


def _or_lowest(value: float | None) -> float:
    """A metric that was not defined is beaten by any that is."""
    return -math.inf if value is None else value


def selection_value(task: Task, metrics: Mapping[str, float | int | None]) -> float | None:
    """The metric that model selection maximises: AUC of a binary task, R2 of a regression."""
    return metrics["auc" if task.kind == "binary" else "r2"]


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of those that are defined; None when none is."""
    defined = [v for v in values if v is not None]
    return float(np.mean(defined)) if defined else None
