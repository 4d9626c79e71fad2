"""Calibrations, fitted and chosen on validation alone.

Platt's is scikit-learn's logistic regression of the label on the logit, without a penalty and
without Platt's smoothed labels. Isotonic is scikit-learn's IsotonicRegression of the label on the
predicted probability, centred (Oron and Flournoy 2017): each of its level parts becomes one point,
at the mean prediction, with straight lines between. So scores that differ still differ, and no
ranking changes. The rates at both ends are drawn to the base rate by one more row of it.

Which one is decided inside validation. Five folds (whole groups where the data have them) are
each scored by what the others fit. From none over platt to isotonic, the choice moves on where
the log loss that way falls by more than NOISE standard errors of that difference, whose rows (or
groups) are the sample. So calibration is off where it does not help, or where nobody could tell.
What it does to outputs in other spaces is looked at by `write/derived_calibration.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from dtn_jax.errors import UserError, choose
from dtn_jax.export.calibration import METHODS, NONE, calibrated
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.schema import Schema
from dtn_jax.shapes import Float, Int

AUTO = "auto"
WAYS = (AUTO, *METHODS)  # to choose: by validation, or one method for every task
FOLDS = 5
NOISE = 2.0  # standard errors by which a log loss must fall
EDGE = 1e-6  # at a prediction of 0, of the lowest rate; at 1, of what the highest one lacks
CANNOT = "cannot be fitted (higher logits have no more positives)"
FEW = 50  # positives, and negatives, below which nothing is fitted


@dataclasses.dataclass(frozen=True)
class Choice:
    """How a task is calibrated, and why.

    Attributes:
      calibration: as calibration.json has it.
      losses: {method: its log loss on rows that it was not fitted on}; {} where none was fitted.
      reason: a sentence.
    """

    calibration: dict
    losses: dict[str, float]
    reason: str


def fit(scores: Scores, schema: Schema, weighted: bool, way: str = AUTO) -> dict[str, Choice]:
    """{task: how it is calibrated}, each in the space of its loss and by its own output alone.

    Args:
      scores: of validation, as the exported program gives them.
      schema: names the tasks and their spaces.
      weighted: whether rows count by their weights, as with `evaluate.sample_weights`.
      way: one of WAYS.

    Raises:
      UserError: a logit is not finite, or there is no such way.
    """
    choose("calibration", way, WAYS)
    if bad := np.count_nonzero(~np.isfinite(scores.logits).all(axis=1)):
        raise UserError(
            f"the model cannot be used: its scores of {bad:,} of {len(scores.logits):,} validation "
            "rows are not finite"
        )
    return {task.name: _of_task(task.name, scores, schema, weighted, way) for task in schema.tasks}


def told(choices: Mapping[str, Choice], improper: Mapping[str, str]) -> dict[str, Choice]:
    """The same choices; where a task's raw scores are no probabilities, the reason says so.

    Args:
      choices: {task: how it is calibrated}.
      improper: {task: what keeps its raw scores from being probabilities}.
    """
    found = dict(choices)
    for task in choices.keys() & improper.keys():
        own, done = choices[task], "calibrated on validation"
        if own.calibration["method"] == "none":
            done = "not calibrated, so the model gives scores"
        reason = f"{improper[task]}: raw scores are not probabilities; {done}. {own.reason}"
        found[task] = dataclasses.replace(own, reason=reason)
    return found


def _of_task(name: str, scores: Scores, schema: Schema, weighted: bool, way: str) -> Choice:
    task = schema.tasks[schema.task_names.index(name)]
    if task.kind != "binary":
        return Choice(dict(NONE), {}, "none, as a regression's prediction is left as it is.")
    if way == "none":
        return Choice(dict(NONE), {}, "none, as asked for.")
    z, y, w, unit = sample(name, task.space, scores, schema, weighted)
    if too_few(y, unit):
        told = f"{y.sum():,} positives and {(~y).sum():,} negatives in validation"
        told += f", of {_units(unit):,} groups" * (scores.group is not None)
        return Choice(dict(NONE), {}, f"none, for too few rows to fit: {told}.")
    if way != AUTO:
        asked = _FITTED[way](z, y, w)
        told = "as asked for" if asked else f"as {way} {CANNOT}"
        return Choice(asked or dict(NONE), {}, f"{way if asked else 'none'}, {told}.")
    fold = _folds(_units(unit))[unit]
    held_out = {method: _held_out(method, z, y, w, fold) for method in METHODS}
    losses = {m: row_losses(found, y) for m, found in held_out.items() if found is not None}
    chosen, told = "none", []
    for method in METHODS[1:]:
        if method not in losses:
            told.append(f"{method} {CANNOT}")
            continue
        gain, error = mean_and_error(losses[chosen] - losses[method], w, unit)
        sure = gain > NOISE * error
        told.append(
            f"{method}'s log loss less {chosen}'s is {-gain:+.2g} ± {NOISE * error:.1g}, "
            f"{'a' if sure else 'no'} gain beyond noise"
        )
        chosen = method if sure else chosen
    calibration = dict(NONE) if chosen == "none" else _FITTED[chosen](z, y, w)
    if calibration is None:  # by the folds it could be fitted, as a whole it cannot
        chosen, calibration = "none", dict(NONE)
    means = {method: float(found @ w / w.sum()) for method, found in losses.items()}
    reason = f"{chosen}, by {FOLDS} folds of validation: {'; '.join(told)}."
    return Choice(calibration, means, reason)


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


def _folds(units: int) -> Int[np.ndarray, " U"]:
    """The fold of each row or group: of equal sizes, drawn in the same way at each call."""
    return np.random.default_rng(0).permutation(units) % FOLDS


def _held_out(
    method: str,
    z: Float[np.ndarray, " B"],
    y: np.ndarray,
    w: Float[np.ndarray, " B"],
    fold: Int[np.ndarray, " B"],
) -> Float[np.ndarray, " B"] | None:
    """Each row's calibrated logit by what the other folds fit; None where one cannot be fitted."""
    found = np.empty(len(z))
    for k in range(FOLDS):
        own = fold == k
        calibration = NONE if method == "none" else _FITTED[method](z[~own], y[~own], w[~own])
        if calibration is None:
            return None
        found[own] = calibrated(calibration, z[own])
    return found


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
