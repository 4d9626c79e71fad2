"""What calibrations do to derived outputs, which follow from the probabilities of several tasks.

A task's probability in a space other than that of its loss is a product or a quotient
(metrics/spaces.py): order@click may be order over click. A calibration that is good for click alone
moves it too, row by row, so that its ranking changes and its log loss may rise. `harmless` sees to
it that no derived output is worse on validation than without any calibration, as far as validation
can tell: by as many standard errors as a calibration must gain, and from as many rows as it takes
to fit one (fit_calibration.py).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.export import calibration, fit_calibration
from dtn_jax.export.fit_calibration import NOISE, Choice
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.spaces import made_of
from dtn_jax.schema import Schema
from dtn_jax.shapes import Float


@dataclasses.dataclass(frozen=True)
class Rise:
    """What calibrations add to the log loss of an output, row by row.

    Attributes:
      before: its log loss without any calibration.
      mean: what they add; below 0 where they help.
      noise: NOISE standard errors of that mean.
    """

    before: float
    mean: float
    noise: float

    @property
    def excess(self) -> float:
        """By how much the rise is beyond noise; 0 where it is not."""
        return max(self.mean - self.noise, 0.0)


def derived(schema: Schema, tasks: Sequence[str]) -> list[tuple[str, str]]:
    """(task, space) of the derived outputs of these tasks."""
    return [
        (task.name, space)
        for task in schema.tasks
        if task.name in tasks and task.kind == "binary"
        for space in task.spaces
        if space != task.space
    ]


def harmless(
    choices: Mapping[str, Choice],
    scores: Scores,
    schema: Schema,
    weighted: bool,
    tasks: Sequence[str],
) -> dict[str, Choice]:
    """The choices, changed so that no derived output is worse than uncalibrated, beyond noise.

    Worse is one whose log loss rises by more than NOISE standard errors of the rise. Where one is,
    the tasks that it is derived from are calibrated together, by platt: those too whose own gain
    may be noise, but not those that would lose. Where that leaves an output worse, calibrations are
    given up, one by one: the one without which the sum of what is too much is the lowest. An output
    with too few positives or negatives to fit a calibration to has no say.

    Args:
      choices: {task: how it is calibrated}, by its own output alone.
      scores: of validation, uncalibrated.
      schema: names the tasks and their spaces.
      weighted: whether rows count by their weights.
      tasks: whose outputs the model gives.
    """
    rows = _Validation(scores, schema, weighted)
    before = _losses({}, rows, derived(schema, tasks))

    def rises(calibrations: Mapping[str, Mapping]) -> dict[tuple[str, str], Rise]:
        after = _losses(calibrations, rows, list(before))
        return {key: _rise(before[key], after[key]) for key in before}

    kept = dict(choices)
    found = rises(_of(kept))
    if worse := [key for key in found if found[key].excess]:
        together = kept | _joined(choices, rows, worse)
        if not any(rise.excess for rise in rises(_of(together)).values()):
            return together
    while worse := [key for key in found if found[key].excess]:
        trials = {
            task: rises(_of(kept) | {task: calibration.NONE})
            for task, own in _of(kept).items()
            if own["method"] != "none"
        }
        best = min(trials, key=lambda task: sum(rise.excess for rise in trials[task].values()))
        hurt = max(worse, key=lambda key: found[key].mean - trials[best][key].mean)
        kept[best] = _given_up(kept[best], "@".join(hurt), found[hurt])
        found = trials[best]
    return kept


def _joined(
    choices: Mapping[str, Choice], rows: _Validation, worse: Sequence[tuple[str, str]]
) -> dict[str, Choice]:
    """Platt's calibrations for the uncalibrated tasks that these outputs are derived from."""
    platt = fit_calibration.fit(rows.scores, rows.schema, rows.weighted, "platt")
    found = {}
    for task, space in worse:
        for name in made_of(task, space, rows.schema):
            own = choices[name]
            gains = own.losses.get("platt", np.inf) < own.losses.get("none", np.inf)
            if own.calibration["method"] == "none" and gains:
                reason = (
                    f"platt, for {task}@{space}, which is derived from it and would be worse with "
                    f"the calibrations of other tasks alone. By its own output alone: {own.reason}"
                )
                calibrated = platt[name].calibration
                found[name] = dataclasses.replace(own, calibration=calibrated, reason=reason)
    return found


def _given_up(choice: Choice, output: str, rise: Rise) -> Choice:
    method = choice.calibration["method"]
    reason = (
        f"none, as {method} makes {output} worse, which is derived from it: log loss on validation "
        f"{rise.before + rise.mean:.5f} with it, {rise.before:.5f} without any calibration (a rise "
        f"of {rise.mean:.2g} ± {rise.noise:.1g}). By its own output alone: {choice.reason}"
    )
    return dataclasses.replace(choice, calibration=dict(calibration.NONE), reason=reason)


def _of(choices: Mapping[str, Choice]) -> dict[str, dict]:
    return {task: choice.calibration for task, choice in choices.items()}


@dataclasses.dataclass(frozen=True)
class _Validation:
    """As the arguments of `harmless`."""

    scores: Scores
    schema: Schema
    weighted: bool


@dataclasses.dataclass(frozen=True)
class _Losses:
    """Of one output's rows: the log loss, weight and unit (a group, or a row) of each."""

    values: Float[np.ndarray, " B"]
    weights: Float[np.ndarray, " B"]
    unit: np.ndarray


def _rise(before: _Losses, after: _Losses) -> Rise:
    mean, error = fit_calibration.mean_and_error(
        after.values - before.values, before.weights, before.unit
    )
    known = float(before.values @ before.weights / before.weights.sum())
    return Rise(known, mean, NOISE * error)


def _losses(
    calibrations: Mapping[str, Mapping], rows: _Validation, outputs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], _Losses]:
    """The log losses of those of these outputs that have rows enough."""
    if not outputs:
        return {}
    logits = calibration.apply(calibrations, rows.scores.logits, rows.schema)
    known, found = dataclasses.replace(rows.scores, logits=logits), {}
    for task, space in outputs:
        z, y, w, unit = fit_calibration.sample(task, space, known, rows.schema, rows.weighted)
        if not fit_calibration.too_few(y, unit):
            found[task, space] = _Losses(fit_calibration.row_losses(z, y), w, unit)
    return found
