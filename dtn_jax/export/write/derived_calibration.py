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
from typing import NamedTuple

import numpy as np

from dtn_jax.export import calibration, fit_calibration
from dtn_jax.export.fit_calibration import NOISE, Choice
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.spaces import made_of
from dtn_jax.schema import Schema

Output = tuple[str, str]  # a task and a space


class Rise(NamedTuple):
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
    given = [task for task in schema.tasks if task.name in tasks and task.kind == "binary"]
    outputs = [(task.name, s) for task in given for s in task.spaces if s != task.space]

    def losses(chosen: Mapping[str, Choice]) -> dict[Output, tuple[np.ndarray, ...]]:
        """The log loss, weight and unit of each row of the outputs that have rows enough."""
        calibrations = {task: choice.calibration for task, choice in chosen.items()}
        logits = calibration.apply(calibrations, scores.logits, schema)
        known, rows = dataclasses.replace(scores, logits=logits), {}
        for output in outputs:
            z, y, w, unit = fit_calibration.sample(*output, known, schema, weighted)
            if not fit_calibration.too_few(y, unit):
                rows[output] = fit_calibration.row_losses(z, y), w, unit
        return rows

    before = losses({})

    def rises(chosen: Mapping[str, Choice]) -> dict[Output, Rise]:
        after, added = losses(chosen), {}
        for output, (values, w, unit) in before.items():
            mean, error = fit_calibration.mean_and_error(after[output][0] - values, w, unit)
            added[output] = Rise(float(values @ w / w.sum()), mean, NOISE * error)
        return added

    kept, found = dict(choices), rises(choices)
    if worse := [output for output in found if found[output].excess]:
        together = kept | _joined(choices, worse, scores, schema, weighted)
        if not any(rise.excess for rise in rises(together).values()):
            return together
    while worse := [output for output in found if found[output].excess]:
        trials = {
            task: rises({t: choice for t, choice in kept.items() if t != task})
            for task, choice in kept.items()
            if choice.calibration["method"] != "none"
        }
        best = min(trials, key=lambda task: sum(rise.excess for rise in trials[task].values()))
        hurt = max(worse, key=lambda output: found[output].mean - trials[best][output].mean)
        kept[best] = _given_up(kept[best], "@".join(hurt), found[hurt])
        found = trials[best]
    return kept


def _joined(
    choices: Mapping[str, Choice],
    worse: Sequence[Output],
    scores: Scores,
    schema: Schema,
    weighted: bool,
) -> dict[str, Choice]:
    """Platt's calibrations for the uncalibrated tasks that these outputs are derived from."""
    platt = fit_calibration.fit(scores, schema, weighted, "platt")
    joined = {}
    for task, space in worse:
        for name in made_of(task, space, schema):
            choice = choices[name]
            gains = choice.losses.get("platt", np.inf) < choice.losses.get("none", np.inf)
            if choice.calibration["method"] == "none" and gains:
                reason = (
                    f"platt, for {task}@{space}, which is derived from it and would be worse with "
                    "the calibrations of other tasks alone. By its own output alone: "
                    f"{choice.reason}"
                )
                joined[name] = Choice(platt[name].calibration, choice.losses, reason)
    return joined


def _given_up(choice: Choice, output: str, rise: Rise) -> Choice:
    method = choice.calibration["method"]
    reason = (
        f"none, as {method} makes {output} worse, which is derived from it: log loss on validation "
        f"{rise.before + rise.mean:.5f} with it, {rise.before:.5f} without any calibration (a rise "
        f"of {rise.mean:.2g} ± {rise.noise:.1g}). By its own output alone: {choice.reason}"
    )
    return Choice(dict(calibration.NONE), choice.losses, reason)
