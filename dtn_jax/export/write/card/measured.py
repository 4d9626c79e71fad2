"""What an exported model is measured by: its own program, on the prepared validation and test rows.

Calibrations are fitted and chosen on validation. Test is read once, to be reported. Both have the
values that were logged; test is scored again with the fixed values of fields that only training
knows, since that is what a served model says.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Collection, Mapping
from typing import TypeVar

import numpy as np
from scipy import stats

from dtn_jax.evaluate import calibration as calibration_curves
from dtn_jax.evaluate import evaluate
from dtn_jax.export import calibration, model_folder
from dtn_jax.export.encoded import Encoded
from dtn_jax.export.fit_calibration import Choice
from dtn_jax.export.write.encoder_files import spec_of
from dtn_jax.export.write.fixed import encoded_row
from dtn_jax.export.write.split_scores import split_scores
from dtn_jax.metrics import METRICS, Value
from dtn_jax.metrics.calibration import CalibrationCurve
from dtn_jax.metrics.influence import Influence, Units, influences
from dtn_jax.metrics.paired import FEWEST
from dtn_jax.metrics.scores import Scores
from dtn_jax.run import Run
from dtn_jax.schema import Schema

T = TypeVar("T")
DECILES = 10
Intervals = dict[str, dict[str, tuple[float, float]]]  # {task@space: {metric: (low, high)}}
Metrics = dict[str, dict[str, Value]]  # {task@space: {metric: value}}


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a card says of a model's scores: those of the tasks that it gives.

    Attributes:
      choices: {task: how it is calibrated}.
      uncalibrated: {validation and test: metrics without calibration}.
      calibrated: {validation and test: metrics of what the model says}.
      intervals: 95 % intervals of the calibrated test metrics.
      fixed: of test rows with the fixed values, calibrated; {} without such fields.
      curves: of test, {"before" and "after": {task@space: curve}} of binary tasks.
      deciles: {task@space: the calibrated curve in ten equally filled bins}.
    """

    choices: dict[str, Choice]
    uncalibrated: dict[str, Metrics]
    calibrated: dict[str, Metrics]
    intervals: Intervals
    fixed: Metrics
    curves: dict[str, dict[str, CalibrationCurve | None]]
    deciles: dict[str, CalibrationCurve | None]


def measure(
    folder: pathlib.Path, run: Run, validation: Scores, choices: Mapping[str, Choice]
) -> Measured:
    """Reads test, and says what both splits are scored like.

    Args:
      folder: of the model, its weights, schema and encoders written.
      run: that it is of, whose `evaluate` options hold.
      validation: its scores, not calibrated.
      choices: {task: how it is calibrated}, by validation.
    """
    bins, weighted = run.config.evaluate.ece_bins, run.config.evaluate.sample_weights
    schema, given = model_folder.read_schema(folder), model_folder.read_facts(folder).tasks
    chosen = {task: choice.calibration for task, choice in choices.items()}

    def calibrated(scores: Scores) -> Scores:
        logits = calibration.apply(chosen, scores.logits, schema)
        return dataclasses.replace(scores, logits=logits)

    def metrics(scores: Scores) -> Metrics:
        return of_tasks(given, evaluate(scores, schema, bins, weighted))

    before = {"validation": validation, "test": split_scores(folder, run, "test")}
    after = {split: calibrated(scores) for split, scores in before.items()}
    fixed = {}
    if (one := fixed_row(folder, run)) is not None:
        fixed = metrics(calibrated(split_scores(folder, run, "test", one)))
    return Measured(
        choices=dict(choices),
        uncalibrated={split: metrics(scores) for split, scores in before.items()},
        calibrated={split: metrics(scores) for split, scores in after.items()},
        intervals=of_tasks(given, intervals(after["test"], schema, bins, weighted)),
        fixed=fixed,
        curves={
            "before": of_tasks(given, calibration_curves(before["test"], schema, bins, weighted)),
            "after": of_tasks(given, calibration_curves(after["test"], schema, bins, weighted)),
        },
        deciles=of_tasks(given, calibration_curves(after["test"], schema, DECILES, weighted)),
    )


def fixed_row(folder: pathlib.Path, run: Run) -> Encoded | None:
    """A row with the values of the fixed fields; None where none is fixed, or a cross reads one
    of them, whose prepared rows do not tell the other's value.
    """
    facts = model_folder.read_facts(folder)
    crossed = {name for field in spec_of(run.data).fields for name in field.cross}
    if not facts.fixed or crossed & set(facts.fixed):
        return None
    return encoded_row(run, facts.fixed)


def intervals(scores: Scores, schema: Schema, bins: int, weighted: bool) -> Intervals:
    """95 % intervals of metrics over samples of rows, or of groups: Student's, from influences.

    None of a metric whose rows lie in too few groups (`paired.FEWEST`).
    """
    units = Units(len(scores.logits), scores.group)
    found: Intervals = {}
    for task in schema.tasks:
        for space in task.spaces:
            at = scores.rows(task.name, space, schema)
            if weighted:
                at &= scores.sample_weight > 0
            rows = scores.metric_rows(task.name, space, schema, bins, weighted)
            of_metrics = influences(rows, np.flatnonzero(at), units)
            found[f"{task.name}@{space}"] = {
                name: _ends(one, math.inf if not METRICS[name].bounded else 1.0)
                for name, one in of_metrics.items()
                if np.isfinite(one.value) and one.effective >= FEWEST
            }
    return found


def _ends(metric: Influence, highest: float) -> tuple[float, float]:
    error = (
        metric.slope
        * np.sqrt(np.square(metric.units).sum())
        * stats.t.ppf(0.975, metric.effective - 1)
    )
    return max(0.0, float(metric.value - error)), min(highest, float(metric.value + error))


def of_tasks(tasks: Collection[str], found: Mapping[str, T]) -> dict[str, T]:
    """Of {task@space: what is known of it}, the part of these tasks."""
    return {key: own for key, own in found.items() if key.partition("@")[0] in tasks}
