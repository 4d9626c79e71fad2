"""Chooses the best state so far, by `train.select` and for each task; decides when to stop, and
says why a run did.

Progressive validation scores each day of train before it is trained on. Every row is scored once,
by a model that has seen only the days before its own, as in production (Blum, Kalai and Langford,
"Beating the hold-out", COLT 1999; on click logs McMahan et al., "Ad click prediction: a view from
the trenches", KDD 2013, section 5).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.data.epochs.day_order import DayRows
from dtn_jax.data.times import date
from dtn_jax.errors import UserError
from dtn_jax.metrics import Value
from dtn_jax.metrics.selected import (
    Selection,
    first_metric,
    mean_of,
    read_selection,
)
from dtn_jax.report import screen
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.run import Run, measure, score_split
from dtn_jax.run.state import State
from dtn_jax.run.workdir import Workdir


@dataclasses.dataclass
class Progress:
    """The part of a run that is not arrays; saved with every checkpoint.

    Attributes:
      best: per selection (`train.select` and each task) the best validation value, as the metric
        gives it whatever its direction, and its step.
      waited: validations since the value of `train.select` last improved.
      stopped: whether early stopping has ended the run.
      loss_sum, loss_steps: of the training losses since the last logged line.
      aux_sum: of the auxiliary losses by name, in the same way.
      validation: {task@space: {metric: value}} of the best state by `train.select`.
      skipped: steps left out since a loss or gradient was not finite: `train.skip_nonfinite`.
      by_day: {day: {task@space: {metric: value}}} of the days of train that were scored before
        they were trained on: `train.evaluate_first`.
    """

    best: dict[str, dict]
    waited: int
    stopped: bool
    loss_sum: list[float]
    loss_steps: int
    aux_sum: dict[str, float] = dataclasses.field(default_factory=dict)
    validation: dict[str, dict] = dataclasses.field(default_factory=dict)
    skipped: int = 0
    by_day: dict[str, dict] = dataclasses.field(default_factory=dict)


def validate(
    run: Run, folder: Workdir, checkpoints: Checkpoints, state: State, step: int, progress: Progress
) -> dict[str, float | None]:
    """Scores validation, saves the state if it is the best so far, and checks for early stopping.

    Where the value of `train.select` is not defined, since validation lacks a class, the newest
    state is kept; a task without a value keeps the state that `train.select` does.

    Returns {`train.select` and each task: its value}; a task's value is its AUC, or the R² of a
    regression task.

    Raises:
      UserError: scores are not finite.
    """
    results = metrics_at(run, state, step, "validation")
    by_task = {task.name: results[f"{task.name}@{task.space}"] for task in run.schema.tasks}
    select = run.config.train.select
    tasks = {name: Selection({name: first_metric(by_task[name])}) for name in by_task}
    selections = {select: run.selection} | tasks
    values = {name: selection.value(by_task) for name, selection in selections.items()}
    best = progress.best
    better = {
        name
        for name, value in values.items()
        if name not in best or selections[name].better(value, best[name]["value"])
    }
    if select in better or best[select]["value"] is None:  # the others that are not defined follow
        better |= {select, *(name for name in best if best[name]["value"] is None)}
    for name in better:
        best[name] = {"value": values[name], "step": step}
    if select in better:
        progress.validation = results
    if better:
        checkpoints.save_best(step, state)
    progress.waited = 0 if select in better else progress.waited + 1
    progress.stopped = 0 < run.config.train.patience <= progress.waited
    mean = mean_of(values[name] for name in tasks)
    folder.log(record(run, "validation", step, results, mean=mean, selected=values[select]))
    return values


def record(run: Run, kind: str, step: int, results: Mapping[str, Mapping], **more) -> dict:
    """{task@space: {metric: value}} as the log has it: 'task@space/metric': value, and `more`."""
    values = {f"{key}/{m}": value for key, of in results.items() for m, value in of.items()}
    return {"kind": kind, "step": step, "epoch": step / run.steps_per_epoch} | values | more


def score_day(run: Run, folder: Workdir, state: State, step: int, progress: Progress) -> None:
    """Scores the day of train that begins after this step, and keeps its metrics.

    Nothing happens where none begins, where the run has stopped, or where they are in `progress`.

    Raises:
      UserError: scores are not finite.
    """
    if progress.stopped or step not in run.at_steps.first_steps:
        return
    number = run.days.known[run.at_steps.first_steps.index(step)]
    name, day = date(number), run.days.rows(number)
    if name in progress.by_day:
        return
    progress.by_day[name] = metrics_at(run, state, step, "train", day)
    folder.log(record(run, "day", step, progress.by_day[name], day=number))


def metrics_at(
    run: Run, state: State, step: int, split: str, day: DayRows | None = None
) -> dict[str, dict[str, Value]]:
    """{task@space: {metric: value}} of a split, or of a day of it, by the state of a step; raises
    UserError where its scores are not finite."""
    scores = score_split(run, state, split, day)
    if not np.isfinite(scores.logits).all():
        raise UserError(
            f"the scores of step {step} are not finite: lower optim.learning_rate or "
            "optim.table_learning_rate, or set optim.clip, in a new workdir"
        )
    return measure(run, scores)


def best_step(results: dict) -> int:
    """The step whose state a run reports."""
    return results["best_steps"][results["selected_by"]]


def selected_value(results: Mapping) -> float | None:
    """The validation value of the state that a finished run reports; None: it is not defined."""
    of_tasks: dict[str, Mapping] = {}
    for key, metrics in results["validation"].items():  # a task's own space is the first reported
        of_tasks.setdefault(key.partition("@")[0], metrics)
    return read_selection("train.select", results["selected_by"], of_tasks).value(of_tasks)


def tell_of_end(results: Sequence[dict], run: Run) -> None:
    """Says how many runs stopped early; or that nothing says which state was the best.

    Args:
      results: of one run, or of replicas.
      run: the first of them.
    """
    train = run.config.train
    early = sum(one["steps"] < run.total_steps for one in results)
    if selected_value(results[0]) is None:
        screen.say(
            f"warning: train.select={train.select} is not defined on validation, where a class is "
            "absent: the last state is reported."
        )
    elif early:
        which = f"{early} of {len(results)} replicas stopped" if len(results) > 1 else "Stopped"
        screen.say(
            f"{which} early, before step {run.total_steps}: no gain since the best validation "
            f"(train.patience={train.patience})."
        )
    elif any(best_step(one) == one["steps"] > run.at_steps.eval_every for one in results):
        screen.say("The last validation was the best: longer training may help.")
