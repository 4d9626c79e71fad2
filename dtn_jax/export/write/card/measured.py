"""What an exported model is measured by: its own program, on the prepared validation and test rows.

Calibrations are fitted and chosen on validation. Test is read once, to be reported. Both have the
values that were logged; test is scored again with the fixed values of fields that only training
knows, since that is what a served model says.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from dtn_jax.evaluate import calibration as calibration_curves
from dtn_jax.evaluate import evaluate
from dtn_jax.export import calibration, model_folder
from dtn_jax.export.encoded import Encoded
from dtn_jax.export.fit_calibration import Choice
from dtn_jax.export.write.encoder_files import spec_of
from dtn_jax.export.write.fixed import encoded_row
from dtn_jax.export.write.split_scores import split_scores
from dtn_jax.metrics import Value
from dtn_jax.metrics.calibration import CalibrationCurve
from dtn_jax.metrics.paired import Draws, drawn
from dtn_jax.metrics.scores import Scores
from dtn_jax.run import Run
from dtn_jax.schema import Schema

DRAWS = 1000  # of rows or groups, for intervals
DECILES = 10
Intervals = dict[str, dict[str, tuple[float, float]]]  # {task@space: {metric: (low, high)}}
Metrics = dict[str, dict[str, Value]]  # {task@space: {metric: value}}


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a card says of a model's scores.

    Attributes:
      choices: {task: how it is calibrated}.
      uncalibrated: {validation and test: metrics without calibration}.
      calibrated: {validation and test: metrics of what the model says}.
      intervals: 95 % intervals of the calibrated test metrics.
      fixed: of test rows with the fixed values, calibrated; {} without such fields.
      curves: of test, {"before" and "after": {task: curve}} in the spaces of the losses.
      deciles: {task: the calibrated curve in ten equally filled bins}.
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
    schema = model_folder.read_schema(folder)
    chosen = {task: choice.calibration for task, choice in choices.items()}

    def calibrated(scores: Scores) -> Scores:
        logits = calibration.apply(chosen, scores.logits, schema)
        return dataclasses.replace(scores, logits=logits)

    def metrics(scores: Scores) -> Metrics:
        return evaluate(scores, schema, bins, weighted)

    before = {"validation": validation, "test": split_scores(folder, run, "test")}
    after = {split: calibrated(scores) for split, scores in before.items()}
    fixed = {}
    if (one := fixed_row(folder, run)) is not None:
        fixed = metrics(calibrated(split_scores(folder, run, "test", one)))
    return Measured(
        choices=dict(choices),
        uncalibrated={split: metrics(scores) for split, scores in before.items()},
        calibrated={split: metrics(scores) for split, scores in after.items()},
        intervals=intervals(after["test"], schema, bins, weighted),
        fixed=fixed,
        curves={
            "before": curves(before["test"], schema, bins, weighted),
            "after": curves(after["test"], schema, bins, weighted),
        },
        deciles=curves(after["test"], schema, DECILES, weighted),
    )


def fixed_row(folder: pathlib.Path, run: Run) -> Encoded | None:
    """A row with the values of the fixed fields; None where none is fixed, or a cross reads one
    of them, whose prepared rows do not tell the other's value.
    """
    facts = model_folder.read_facts(folder)
    spec = spec_of(run.data)
    crossed = {name for field in (spec.fields if spec else ()) for name in field.cross}
    if not facts.fixed or crossed & set(facts.fixed):
        return None
    return encoded_row(run, facts.fixed)


def intervals(scores: Scores, schema: Schema, bins: int, weighted: bool) -> Intervals:
    """95 % intervals of the metrics of `paired.drawn`: rows, or groups, drawn again."""
    drawing = Draws(len(scores.logits), scores.group, DRAWS)
    found: Intervals = {}
    for task in schema.tasks:
        for space in task.spaces:
            at = scores.rows(task.name, space, schema)
            if weighted:
                at &= scores.sample_weight > 0
            rows = scores.metric_rows(task.name, space, schema, bins, weighted)
            own = drawn(rows, np.flatnonzero(at), drawing)
            found[f"{task.name}@{space}"] = {
                name: _ends(one.draws) for name, one in own.items() if np.isfinite(one.value)
            }
    return found


def _ends(draws: Float[np.ndarray, " R"]) -> tuple[float, float]:
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return float(low), float(high)


def curves(
    scores: Scores, schema: Schema, bins: int, weighted: bool
) -> dict[str, CalibrationCurve | None]:
    """{task: calibration curve} of binary tasks, in the spaces of their losses."""
    found = calibration_curves(scores, schema, bins, weighted)
    return {t.name: found[f"{t.name}@{t.space}"] for t in schema.tasks if t.kind == "binary"}
