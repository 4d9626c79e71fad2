"""What an exported model is measured by: its own program, on the prepared validation and test rows.

Calibrations are fitted and chosen on validation. Test is read once, to be reported. Both have the
values that were logged; test is scored again with the fixed values of fields that only training
knows, since that is what a served model says.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from scipy import stats

from dtn_jax.data.epochs.reader import in_order
from dtn_jax.errors import UserError
from dtn_jax.export import calibration
from dtn_jax.export.calibration import scores as outputs_of
from dtn_jax.export.compiled import Batches
from dtn_jax.export.encoding import Encoded
from dtn_jax.export.fit_calibration import Choice
from dtn_jax.export.model_folder import Facts
from dtn_jax.export.ranking import Ranked
from dtn_jax.export.write.encoders import encoded_row, spec_of
from dtn_jax.export.write.program import Forward
from dtn_jax.interface import Batch
from dtn_jax.metrics import METRICS, Influence, Units, Value, influences
from dtn_jax.metrics.gains import gains_of, labels_of
from dtn_jax.metrics.paired import FEWEST
from dtn_jax.metrics.scores import Scores
from dtn_jax.report import plots
from dtn_jax.report.markdown import one_line
from dtn_jax.run.evaluate import calibration as calibration_curves
from dtn_jax.run.evaluate import evaluate, with_logits
from dtn_jax.run.run import Run
from dtn_jax.schema import Schema

PICTURE = "card/calibration.png"  # of the README, and the folder of what goes with it
Metrics = dict[str, dict[str, Value]]  # {task@space: {metric: value}}


@dataclasses.dataclass(frozen=True)
class Export:
    """A model that is being written.

    Attributes:
      folder: of the model.
      run: that it is made of.
      schema: of the tasks that its program gives.
      facts: what config.json says.
      forward: the program.
      ranked: its ranking score, if it gives one.
    """

    folder: pathlib.Path
    run: Run
    schema: Schema
    facts: Facts
    forward: Forward
    ranked: Ranked | None = None


def split_scores(export: Export, split: str, fixed: Encoded | None = None) -> Scores:
    """The logits of a model, uncalibrated, beside the labels of a split of its data.

    The folder's program and weights are enough, and no table is in memory. A field that has a fixed
    value in the model has its own here, unless that is asked for.

    Args:
      export: the model.
      split: train, validation or test.
      fixed: one row, whose values of the fields that the model fixes take the place of every row's.
    """
    run, facts = export.run, export.facts
    program = Batches.open(export.folder, facts, {})

    def call(batch: Batch) -> jax.Array:
        ids, numeric = with_fixed(batch, fixed, export.schema, facts.fixed)
        return program.call(ids, batch.weights, numeric)

    batches = in_order(run.data, split, run.config.data.eval_batch_size)
    columns = [run.schema.task_names.index(name) for name in export.schema.task_names]
    parts = [
        (logits, batch.labels[:, columns], batch.label_mask[:, columns], batch.sample_weight)
        for batch, logits in with_logits(batches, call)
    ]
    arrays = (np.concatenate(part)[: run.data.rows[split]] for part in zip(*parts))
    return Scores(*arrays, group=run.groups(split))


def with_fixed(
    batch: Batch, fixed: Encoded | None, schema: Schema, names: Collection[str]
) -> tuple[np.ndarray, np.ndarray]:
    """A batch's ids and numbers; those of the named fields as the one row of `fixed` has them."""
    if fixed is None:
        return batch.ids, batch.numeric
    slots = [field.name in names for field in schema.slot_fields()]
    numbers = [field.name in names for field in schema.number_fields()]
    ids = np.where(slots, fixed.ids, batch.ids)
    return ids, np.where(numbers, fixed.numeric, batch.numeric)


def metrics_of(export: Export, scores: Scores) -> Metrics:
    """The metrics of the tasks that a model gives, by the options of its run."""
    options = export.run.config.evaluate
    metrics = evaluate(scores, export.schema, options.ece_bins, options.sample_weights)
    return {
        key: values
        for key, values in metrics.items()
        if key.partition("@")[0] in export.facts.tasks
    }


def measure(export: Export, validation: Scores, choices: Mapping[str, Choice]) -> dict[str, Any]:
    """Reads test, draws it (`draw`), and says what both splits are scored like.

    Args:
      export: the model.
      validation: its scores, not calibrated.
      choices: {task: how it is calibrated}, by validation.

    Returns:
      `calibration`, the choices; `uncalibrated` and `calibrated`, each the metrics of validation
      and test; `test_intervals`, {task@space: {metric: (low, high)}} of the calibrated ones;
      `test_with_fixed_values`, {} without such fields; and `rank`, see `rank_metrics`.
    """
    chosen = {task: choice.calibration for task, choice in choices.items()}

    def calibrated(scores: Scores) -> Scores:
        logits = calibration.apply(chosen, scores.logits, export.schema)
        return dataclasses.replace(scores, logits=logits)

    before = {"validation": validation, "test": split_scores(export, "test")}
    after = {split: calibrated(scores) for split, scores in before.items()}
    fixed: Metrics = {}
    crossed = {name for field in spec_of(export.run.data).fields for name in field.cross}
    if export.facts.fixed and not crossed & set(export.facts.fixed):  # else of a cross only one
        row = encoded_row(export.run, export.facts.fixed)
        fixed = metrics_of(export, calibrated(split_scores(export, "test", row)))
    draw(export, before["test"], after["test"])
    return {
        "calibration": {task: dataclasses.asdict(choice) for task, choice in choices.items()},
        "uncalibrated": {split: metrics_of(export, scores) for split, scores in before.items()},
        "calibrated": {split: metrics_of(export, scores) for split, scores in after.items()},
        "test_intervals": dict(intervals(export, after["test"])),
        "test_with_fixed_values": fixed,
        "rank": rank_metrics(export, after) if export.ranked else {},
    }


def intervals(
    export: Export, scores: Scores
) -> Iterator[tuple[str, dict[str, tuple[float, float]]]]:
    """95 % intervals of metrics over samples of rows, or of groups: Student's, from influences.

    None of a metric whose rows lie in too few groups (`paired.FEWEST`).
    """
    options, units = export.run.config.evaluate, Units(len(scores.logits), scores.group)
    weighted, schema = options.sample_weights, export.schema
    given = [task for task in schema.tasks if task.name in export.facts.tasks]
    for task, space in [(one, space) for one in given for space in one.spaces]:
        at = scores.rows(task.name, space, schema)
        if weighted:
            at &= scores.sample_weight > 0
        rows, ends = scores.metric_rows(task.name, space, schema, options.ece_bins, weighted), {}
        for name, metric in influences(rows, units.at(np.flatnonzero(at))).items():
            if interval := ends_of(name, metric):
                ends[name] = interval
        yield f"{task.name}@{space}", ends


def ends_of(name: str, metric: Influence) -> tuple[float, float] | None:
    """The interval of a metric; None of one whose rows lie in too few groups."""
    if not (np.isfinite(metric.value) and metric.effective >= FEWEST):
        return None
    error = metric.slope * np.sqrt(np.square(metric.units).sum())
    error *= stats.t.ppf(0.975, metric.effective - 1)
    highest = 1.0 if METRICS[name].bounded else math.inf
    low, high = float(metric.value - error), float(metric.value + error)
    return max(0.0, low), min(highest, high)


def rank_metrics(export: Export, after: Mapping[str, Scores]) -> dict[str, Any]:
    """How the ranking score orders rows of test by its gain and by each task.

    Returns:
      `expression`; `metrics`, {metric: its title}; and `test`, {gain or task: {metric: [value, low,
      high]}}, the value alone where there is no interval. A task with labels below 0 is left out.

    Raises:
      UserError: it is not finite in a row of either split.
    """
    ranked, weighted = export.ranked, export.run.config.evaluate.sample_weights
    for split, scores in after.items():
        columns = outputs_of(scores.logits, export.schema, export.facts.tasks, {})
        rank = ranked.score.score(columns)
        if (bad := np.flatnonzero(np.isnan(rank))).size:
            shown = ", ".join(f"{n} is {columns[n][bad[0]]:.3g}" for n in ranked.score.reads)
            raise UserError(
                f"--rank {ranked.score.text!r} is not finite in {bad.size:,} of {rank.size:,} rows "
                f"of {split}, as where {shown}: bound what it reads, such as by max(x, 0.01)"
            )
    labels, ranks = labels_of(scores, export.schema), {}
    worth = {name: gain.score(labels) for name, gain in ranked.gain.items()}
    worth |= {name: labels[name] for name in export.facts.tasks}
    for name, gains in gains_of(worth, scores.group, scores.sample_weight if weighted else None):
        known = gains.influences(rank[gains.places])
        known = {m: one for m, one in known.items() if np.isfinite(one.value)}
        ranks[name] = {m: [one.value, *(ends_of(m, one) or ())] for m, one in known.items()}
    titles = {name: METRICS[name].title for values in ranks.values() for name in values}
    return {"expression": ranked.score.text, "metrics": titles, "test": ranks}


def draw(export: Export, before: Scores, after: Scores) -> None:
    """Draws reliability diagrams of test, of each output: before and after calibration, or once
    where no task is calibrated."""
    options, named = export.run.config.evaluate, {", before": before, ", after": after}
    if np.array_equal(before.logits, after.logits):
        named = {"": before}
    curves = {
        (key, name): curve
        for name, scores in named.items()
        for key, curve in calibration_curves(
            scores, export.schema, options.ece_bins, options.sample_weights
        ).items()
        if key.partition("@")[0] in export.facts.tasks
    }
    keys = dict.fromkeys(key for key, _ in curves)
    drawn = {one_line(key + name): curves[key, name] for key in keys for name in named}
    plots.reliability(drawn, export.folder / PICTURE, columns=len(named))
