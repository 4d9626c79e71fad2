"""Chooses the best state so far, by `train.select` and for each task; decides when to stop, and
says why a run did.

Progressive validation scores each day of train before it is trained on. Every row is scored once,
by a model that has seen only the days before its own, as in production (Blum, Kalai and Langford,
"Beating the hold-out", COLT 1999; on click logs McMahan et al., "Ad click prediction: a view from
the trenches", KDD 2013, section 5). Where `sample_negatives` has left out rows of train, the
others' weights make up for them, so that metrics are those of the whole log.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.data.times import date
from dtn_jax.errors import UserError
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.selected import (
    Selection,
    first_metric,
    mean_of,
    metrics_of,
    read_selection,
)
from dtn_jax.report import screen
from dtn_jax.report.progress_bar import ProgressBar
from dtn_jax.run.checkpoint import Checkpoints
from dtn_jax.run.evaluate import read_groups, score
from dtn_jax.run.records import flat
from dtn_jax.run.run import Run, measure, score_split
from dtn_jax.run.state import State
from dtn_jax.run.workdir import Workdir
from dtn_jax.schema import MEAN, Schema

KIND = "day"  # of the records in metrics.jsonl


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
      exchanged: of each packed array whose rows travel, the sums of `Asked.of_device` over
        `exchanged_steps`, since the last logged line.
      exchanged_on: the devices and messages that those are of; sums of others are dropped.
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
    exchanged: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    exchanged_steps: int = 0
    exchanged_on: list[int] = dataclasses.field(default_factory=list)
    by_day: dict[str, dict] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, saved: object) -> Progress:
        """What `dataclasses.asdict` made of one; raises UserError where it is something else."""
        try:
            return cls(**saved)
        except TypeError as error:
            raise UserError(f"the progress of the last checkpoint is damaged ({error})") from None


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
    scores = score_split(run, state, "validation")
    check_scores(scores, step)
    results = measure(run, scores)
    own = {task.name: results[f"{task.name}@{task.space}"] for task in run.schema.tasks}
    select = run.config.train.select
    tasks = {name: Selection({name: first_metric(own[name])}) for name in own}
    selections = {select: run.selection} | tasks
    found = {name: selection.value(own) for name, selection in selections.items()}
    best = progress.best
    better = {
        name
        for name, value in found.items()
        if name not in best or selections[name].better(value, best[name]["value"])
    }
    if select in better or best[select]["value"] is None:  # the others that are not defined follow
        better |= {select, *(name for name in best if best[name]["value"] is None)}
    for name in better:
        best[name] = {"value": found[name], "step": step}
    if select in better:  # metrics.jsonl has it too, but no checksum
        progress.validation = results
    if better:
        checkpoints.save_best(step, state)
    progress.waited = 0 if select in better else progress.waited + 1
    progress.stopped = 0 < run.config.train.patience <= progress.waited
    record = {"kind": "validation", "step": step, "epoch": step / run.steps_per_epoch}
    record |= flat(results)
    mean = mean_of(found[name] for name in tasks)
    folder.log(record | {"mean": mean, "selected": found[select]})
    return found


def check_scores(scores: Scores, step: int) -> None:
    """Raises UserError where scores of the state of a step are not finite."""
    if not np.isfinite(scores.logits).all():
        raise UserError(
            f"the scores of step {step} are not finite: lower optim.learning_rate or "
            "optim.table_learning_rate, or set optim.clip, in a new workdir"
        )


def best_step(results: dict) -> int:
    """The step whose state a run reports; the mean chose it if the results do not say what did."""
    return results["best_steps"][results.get("selected_by", MEAN)]


def selected_value(results: Mapping, schema: Schema) -> float | None:
    """The validation value of the state that a finished run reports; None: it is not defined."""
    selected_by = results.get("selected_by", MEAN)
    selection = read_selection("train.select", selected_by, metrics_of(schema))
    validation = results["validation"]
    return selection.value({t.name: validation[f"{t.name}@{t.space}"] for t in schema.tasks})


def tell_of_end(results: Sequence[dict], run: Run) -> None:
    """Says which runs stopped early, and why; and, where the last of several validations was the
    best, which option ended the training too soon; or that nothing says which was the best.

    Args:
      results: of one run, or of replicas.
      run: the first of them.
    """
    train, last = run.config.train, run.total_steps
    if selected_value(results[0], run.schema) is None:
        screen.say(
            f"warning: train.select={train.select} is not defined on validation, where a class is "
            "absent: no state is better than another, so the last one is reported. Select by a "
            "task or a metric that is defined, or give validation more rows."
        )
        return
    early = [own for own in results if own["steps"] < last]
    if early and len(results) == 1:
        screen.say(
            f"Stopped early, at step {early[0]['steps']} of {last}: no gain since the validation "
            f"of step {best_step(early[0])} (train.patience={train.patience})."
        )
    elif early:
        screen.say(
            f"{len(early)} of {len(results)} replicas stopped early, before step {last}: no gain "
            f"since their best validations (train.patience={train.patience})."
        )
    late = sum(best_step(own) == own["steps"] for own in results)
    more = run.at_steps.longer
    if late and more and last > run.at_steps.eval_every:
        where = f" of {late} of {len(results)} replicas" if len(results) > 1 else ""
        noun = "examples" if "examples" in more else "epochs"
        screen.say(
            f"The last validation{where} was the best, so more {noun} may help: "
            f"--config.{more}, in a new workdir."
        )


def score_day(
    run: Run,
    folder: Workdir,
    state: State,
    step: int,
    progress: Progress,
    bar: ProgressBar | None = None,
) -> None:
    """Scores the day of train that begins after this step, measures it, and keeps what it found.

    Nothing happens where none begins, where `train.evaluate_first` is not set, or where the day's
    metrics are in `progress` already.

    Raises:
      UserError: scores are not finite.
    """
    if step not in run.at_steps.first_steps:
        return
    day = run.days.known[run.at_steps.first_steps.index(step)]
    if date(day) in progress.by_day:
        return
    if bar:
        bar.tell(f"scoring {date(day)} before it is trained on")
    rows, size = run.days.rows(day), run.config.data.eval_batch_size
    groups = read_groups(run.data, "train", rows)
    scores = score(run.score_step, state.to_score(), run.data, "train", size, run.at, groups, rows)
    check_scores(scores, step)
    results = measure(run, scores, sampled=bool(run.data.notes.get("sample_negatives")))
    progress.by_day[date(day)] = results
    record = {"kind": KIND, "step": step, "epoch": step / run.steps_per_epoch, "day": day}
    folder.log(record | flat(results))
