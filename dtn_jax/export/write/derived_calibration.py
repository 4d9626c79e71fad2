"""What calibrations do to derived outputs, which follow from the probabilities of several tasks.

A task's probability in a space other than that of its loss is a product or a quotient
(metrics/spaces.py): order@click may be order over click. A calibration that is good for click alone
moves it too, row by row, so that its ranking changes and its log loss may rise. `harmless` sees to
it that no derived output is worse on validation than without any calibration.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dtn_jax.export import calibration, fit_calibration
from dtn_jax.export.fit_calibration import Choice
from dtn_jax.metrics.log_loss import log_loss
from dtn_jax.metrics.scores import Scores
from dtn_jax.schema import ALL, Schema


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
    """The choices, changed so that no derived output has a higher log loss than uncalibrated.

    Where one has, the tasks that it is derived from are calibrated together, by platt: those too
    whose own gain may be noise, but not those that would lose. Where that leaves an output worse,
    calibrations are given up, one by one: the one without which the sum of what is too much is the
    lowest.

    Args:
      choices: {task: how it is calibrated}, by its own output alone.
      scores: of validation, uncalibrated.
      schema: names the tasks and their spaces.
      weighted: whether rows count by their weights.
      tasks: whose outputs the model gives.
    """
    kept = dict(choices)
    outputs = derived(schema, tasks)
    before = _losses({}, scores, schema, weighted, outputs)
    after = _losses(_of(kept), scores, schema, weighted, outputs)
    if worse := [key for key in outputs if after[key] > before[key]]:
        together = kept | _joined(choices, scores, schema, weighted, worse)
        joined = _losses(_of(together), scores, schema, weighted, outputs)
        if all(joined[key] <= before[key] for key in outputs):
            return together
    while worse := [key for key in outputs if after[key] > before[key]]:
        trials = {}
        for task, found in _of(kept).items():
            if found["method"] != "none":
                without = _of(kept) | {task: calibration.NONE}
                trials[task] = _losses(without, scores, schema, weighted, outputs)
        best = min(trials, key=lambda task: _excess(trials[task], before))
        hurt = max(worse, key=lambda key: after[key] - trials[best][key])
        kept[best] = _given_up(kept[best], "@".join(hurt), after[hurt], before[hurt])
        after = trials[best]
    return kept


def _joined(
    choices: Mapping[str, Choice],
    scores: Scores,
    schema: Schema,
    weighted: bool,
    worse: Sequence[tuple[str, str]],
) -> dict[str, Choice]:
    """Platt's calibrations for the uncalibrated tasks that these outputs are derived from."""
    platt, found = fit_calibration.fit(scores, schema, weighted, "platt"), {}
    for task, space in worse:
        for name in [*_chain(task, schema), *_chain(space, schema)]:
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


def _chain(name: str, schema: Schema) -> Iterator[str]:
    """A task, that in whose space its loss is, and so on."""
    while name != ALL:
        yield name
        name = schema.tasks[schema.task_names.index(name)].space


def _given_up(choice: Choice, output: str, after: float, before: float) -> Choice:
    method = choice.calibration["method"]
    reason = (
        f"none, as {method} makes {output} worse, which is derived from it: log loss on validation "
        f"{after:.5f} with it, {before:.5f} without any calibration. By its own output alone: "
        f"{choice.reason}"
    )
    return dataclasses.replace(choice, calibration=dict(calibration.NONE), reason=reason)


def _of(choices: Mapping[str, Choice]) -> dict[str, dict]:
    return {task: choice.calibration for task, choice in choices.items()}


def _excess(found: Mapping[tuple, float], before: Mapping[tuple, float]) -> float:
    return sum(max(found[key] - before[key], 0.0) for key in before)


def _losses(
    calibrations: Mapping[str, Mapping],
    scores: Scores,
    schema: Schema,
    weighted: bool,
    outputs: Sequence[tuple[str, str]],
) -> dict[tuple[str, str], float]:
    """The mean log loss of each output; 0 of one without rows."""
    if not outputs:
        return {}
    logits = calibration.apply(calibrations, scores.logits, schema)
    known, found = dataclasses.replace(scores, logits=logits), {}
    for task, space in outputs:
        z, labels, weights, _ = known.of(task, space, schema)
        found[task, space] = log_loss(z, labels, weights if weighted else None) or 0.0
    return found
