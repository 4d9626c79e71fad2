"""Calibrations, fitted and chosen on validation alone.

Platt's is scikit-learn's logistic regression of the label on the logit, without a penalty and
without Platt's smoothed labels. Isotonic is scikit-learn's IsotonicRegression of the label on the
predicted probability, centred (Oron and Flournoy 2017): each of its level parts becomes one point,
at the mean prediction, with straight lines between. So scores that differ still differ, and no
ranking changes. The rates at both ends are drawn to the base rate by one more row of it.

Which one is decided inside validation. Five folds (whole groups where the data have them) are
each scored by what the others fit. From none over platt to isotonic, the choice moves on where
the log loss falls by more than NOISE standard errors of that difference, whose rows (or groups)
are the sample. So calibration is off where it does not help, or where nobody could tell.

A task's probability in a space other than that of its loss is a product or a quotient
(metrics/spaces.py): order@click may be order over click. A calibration that is good for click alone
moves it too, row by row, so that its ranking changes and its log loss may rise. `harmless` sees to
it that no such output is worse on validation than without any calibration, beyond noise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from dtn_jax.errors import UserError
from dtn_jax.export.calibration import METHODS, NONE, apply, calibrated
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.metrics.spaces import made_of
from dtn_jax.schema import Schema
from dtn_jax.shapes import Float, Int

AUTO = "auto"
WAYS = (AUTO, *METHODS)  # to choose: by validation, or one method for every task
FOLDS = 5
NOISE = 2.0  # standard errors by which a log loss must fall
EDGE = 1e-6  # at a prediction of 0, of the lowest rate; at 1, of what the highest one lacks
FEW = 50  # positives, and negatives, below which nothing is fitted


@dataclasses.dataclass(frozen=True)
class Choice:
    """How a task is calibrated, and why.

    Attributes:
      calibration: as calibration.json has it.
      reason: a sentence.
    """

    calibration: dict
    reason: str


def fit(scores: Scores, schema: Schema, weighted: bool, way: str = AUTO) -> dict[str, Choice]:
    """{task: how it is calibrated}, each in the space of its loss and by its own output alone.

    Args:
      scores: of validation, as the exported program gives them.
      schema: names the tasks and their spaces.
      weighted: whether rows count by their weights, as with `evaluate.sample_weights`.
      way: one of WAYS.

    Raises:
      UserError: a logit is not finite.
    """
    if bad := np.count_nonzero(~np.isfinite(scores.logits).all(axis=1)):
        raise UserError(f"the scores of {bad:,} rows of validation are not finite")
    return {task.name: _of_task(task.name, scores, schema, weighted, way) for task in schema.tasks}


def _of_task(name: str, scores: Scores, schema: Schema, weighted: bool, way: str) -> Choice:
    def none(reason: str) -> Choice:
        return Choice(dict(NONE), f"not calibrated: {reason}.")

    task = schema.tasks[schema.task_names.index(name)]
    if task.kind != "binary":
        return none("a regression's prediction stays as it is")
    if way == "none":
        return none("as --calibration=none says")
    z, y, w, unit = sample(name, task.space, scores, schema, weighted)
    if too_few(y, unit):
        rows = "rows" if scores.group is None else "groups"
        few = f"{y.sum():,} positives and {(~y).sum():,} negatives in {_units(unit):,} {rows}"
        needed = f"{FEW} of each, in at least {FOLDS} {rows}"
        return none(f"validation has {few}, and a fit needs {needed}")
    if way != AUTO:
        if calibration := _FITTED[way](z, y, w):
            return Choice(calibration, f"{way}, as --calibration={way} says.")
        return none(f"{way} cannot be fitted, as positives do not grow with the logit")
    fold = np.random.default_rng(0).permutation(_units(unit))[unit] % FOLDS  # of equal sizes
    held_out = {method: _held_out(method, z, y, w, fold) for method in METHODS}
    losses = {m: row_losses(logits, y) for m, logits in held_out.items() if logits is not None}
    chosen = "none"
    for method in [method for method in METHODS[1:] if method in losses]:
        change, error = mean_and_error(losses[method] - losses[chosen], w, unit)
        chosen = method if -change > NOISE * error else chosen
    means = {method: f"{loss @ w / w.sum():.5f} by {method}" for method, loss in losses.items()}
    means["none"] = means["none"].replace("by none", "without")
    measured = f"{', '.join(means.values())}, on {FOLDS} folds of validation"
    if chosen == "none":
        why = f"no method lowers the log loss by more than noise: {measured}"
        return none(f"{why}; --calibration=platt fits one all the same")
    calibration = _FITTED[chosen](z, y, w) or NONE
    return Choice(dict(calibration), f"calibrated by {chosen}: the log loss is {measured}.")


def harmless(
    choices: Mapping[str, Choice],
    scores: Scores,
    schema: Schema,
    weighted: bool,
    tasks: Sequence[str],
) -> dict[str, Choice]:
    """The choices, changed so that no derived output is worse than uncalibrated, beyond noise.

    Worse is one whose log loss rises by more than NOISE standard errors of the rise. The tasks
    behind the worst one lose their calibrations, and so on. An output with too few positives or
    negatives to fit a calibration to has no say.

    Args:
      choices: {task: how it is calibrated}, by its own output alone.
      scores: of validation, uncalibrated.
      schema: names the tasks and their spaces.
      weighted: whether rows count by their weights.
      tasks: whose outputs the model gives.
    """

    def losses(chosen: Mapping[str, Choice], output: tuple[str, str]) -> tuple[np.ndarray, ...]:
        """The log loss, label, weight and unit of each row of an output."""
        calibrations = {task: choice.calibration for task, choice in chosen.items()}
        known = dataclasses.replace(scores, logits=apply(calibrations, scores.logits, schema))
        z, y, w, unit = sample(*output, known, schema, weighted)
        return row_losses(z, y), y, w, unit

    given = [task for task in schema.tasks if task.name in tasks and task.kind == "binary"]
    derived = [(task.name, s) for task in given for s in task.spaces if s != task.space]
    before = {output: losses({}, output) for output in derived}
    kept = dict(choices)
    while True:
        worse = {}
        for output, (values, y, w, unit) in before.items():
            if not too_few(y, unit):
                rise, error = mean_and_error(losses(kept, output)[0] - values, w, unit)
                if rise > NOISE * error:
                    worse[output] = rise - NOISE * error
        if not worse:
            return kept
        output = max(worse, key=worse.__getitem__)
        for name in made_of(*output, schema):
            choice, reason = kept[name], f"not calibrated: {'@'.join(output)} would be worse. "
            reason += "By itself it would be "
            if choice.calibration["method"] != "none":
                kept[name] = Choice(dict(NONE), reason + choice.reason)


def sample(
    task: str, space: str, scores: Scores, schema: Schema, weighted: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(logits, positive, weights, unit) of a task's rows in a space that weigh more than 0.

    Units are the groups, or the rows where the data have no groups: 0, 1 and so on.
    """
    logits, labels, weights, group = scores.of(task, space, schema)
    weights = weights.astype(np.float64) if weighted else np.ones(len(logits))
    kept = weights > 0
    z, y, w = logits[kept].astype(np.float64), labels[kept] == 1, weights[kept]
    unit = np.arange(len(z)) if group is None else np.unique(group[kept], return_inverse=True)[1]
    return z, y, w, unit


def too_few(y: np.ndarray, unit: Int[np.ndarray, " B"]) -> bool:
    """Whether these positives and negatives, of these units, say too little."""
    return bool(min(y.sum(), (~y).sum()) < FEW or _units(unit) < FOLDS)


def _units(unit: Int[np.ndarray, " B"]) -> int:
    return int(unit.max(initial=-1)) + 1


def _held_out(
    method: str,
    z: Float[np.ndarray, " B"],
    y: np.ndarray,
    w: Float[np.ndarray, " B"],
    fold: Int[np.ndarray, " B"],
) -> Float[np.ndarray, " B"] | None:
    """Each row's calibrated logit by what the other folds fit; None where one cannot be fitted."""
    logits = np.empty(len(z))
    for k in range(FOLDS):
        out = fold == k
        calibration = NONE if method == "none" else _FITTED[method](z[~out], y[~out], w[~out])
        if calibration is None:
            return None
        logits[out] = calibrated(calibration, z[out])
    return logits


def row_losses(z: Float[np.ndarray, " B"], y: np.ndarray) -> Float[np.ndarray, " B"]:
    """Each row's log loss."""
    return np.logaddexp(0.0, np.where(y, -z, z))


def mean_and_error(
    values: Float[np.ndarray, " B"], w: Float[np.ndarray, " B"], unit: Int[np.ndarray, " B"]
) -> tuple[float, float]:
    """The weighted mean, and its standard error over units drawn as wholes."""
    mean = values @ w / w.sum()
    away = np.bincount(unit, w * (values - mean))
    units = len(away)
    return float(mean), float(np.sqrt(away @ away * units / (units - 1)) / w.sum())


def _platt(z: Float[np.ndarray, " B"], y: np.ndarray, w: Float[np.ndarray, " B"]) -> dict | None:
    """None where there is one class, or higher logits do not have more positives."""
    center, scale = z.mean(), z.std()
    if y.all() or not y.any() or not scale > 0:
        return None
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    model.fit(((z - center) / scale)[:, None], y, sample_weight=w / w.mean())
    slope = float(model.coef_[0, 0] / scale)
    if not 0 < slope < np.inf:
        return None
    intercept = float(model.intercept_[0] - slope * center)
    return {"method": "platt", "slope": slope, "intercept": intercept}


def _isotonic(z: Float[np.ndarray, " B"], y: np.ndarray, w: Float[np.ndarray, " B"]) -> dict | None:
    """None where there is one class."""
    if y.all() or not y.any():
        return None
    p, w = sigmoid(z), w / w.mean()
    rates = IsotonicRegression().fit(p, y, sample_weight=w).predict(p)
    rate = y @ w / w.sum()
    lowest, highest = w[rates == rates.min()].sum(), w[rates == rates.max()].sum()
    least = (rates.min() * lowest + rate) / (lowest + 1)
    most = (rates.max() * highest + rate) / (highest + 1)
    rates = np.clip(rates, least, most) if least < most else np.full_like(rates, rate)
    observed, level = np.unique(rates, return_inverse=True)
    predicted = np.bincount(level, w * p) / np.bincount(level, w)
    # Down to 0 and up to 1 it keeps rising too.
    predicted = np.concatenate([[0.0], predicted, [1.0]])
    ends = EDGE * observed[0], 1 - EDGE * (1 - observed[-1])
    observed = np.concatenate([ends[:1], observed, ends[1:]])
    return {"method": "isotonic", "predicted": predicted.tolist(), "observed": observed.tolist()}


_FITTED = {"platt": _platt, "isotonic": _isotonic}
