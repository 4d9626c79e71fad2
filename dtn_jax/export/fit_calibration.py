"""Calibrations are fitted and chosen on validation; test only reports them.

Platt's is scikit-learn's logistic regression of the label on the logit, without a penalty and
without Platt's smoothed labels. Isotonic is scikit-learn's IsotonicRegression of the label on the
predicted probability; its level ends are drawn to the base rate by one more row of it, so that no
probability is 0 or 1.

Which one is decided inside validation. Five folds (whole groups where the data have them) are
each scored by what the others fit. From none over platt to isotonic, the choice moves on where
the log loss that way falls by more than NOISE standard errors of that difference, whose rows (or
groups) are the sample. So calibration is off where it does not help, or where nobody could tell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from dtn_jax.evaluate import evaluate
from dtn_jax.export.calibration import METHODS, NONE, apply, calibrated
from dtn_jax.metrics.metric import Value
from dtn_jax.metrics.scores import Scores
from dtn_jax.metrics.sigmoid import sigmoid
from dtn_jax.schema import Schema

FOLDS = 5
NOISE = 2.0  # standard errors by which a log loss must fall
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


def fit(scores: Scores, schema: Schema, weighted: bool) -> dict[str, Choice]:
    """{task: how it is calibrated}, each in the space of its loss.

    Args:
      scores: of validation, as the exported program gives them.
      schema: names the tasks and their spaces.
      weighted: whether rows count by their weights, as with `evaluate.sample_weights`.
    """
    return {task.name: _of_task(task.name, scores, schema, weighted) for task in schema.tasks}


def effect(
    calibrations: Mapping[str, Mapping], scores: Scores, schema: Schema, bins: int, weighted: bool
) -> dict[str, dict[str, dict[str, Value]]]:
    """{"before" and "after": {task@space: {metric: value}}}: the metrics without the calibrations
    and with them, as `evaluate` has them.

    Args:
      scores: of a split; test's are read for this alone, never to choose by.
    """
    after = dataclasses.replace(scores, logits=apply(calibrations, scores.logits, schema))
    return {
        "before": evaluate(scores, schema, bins, weighted),
        "after": evaluate(after, schema, bins, weighted),
    }


def _of_task(name: str, scores: Scores, schema: Schema, weighted: bool) -> Choice:
    task = schema.tasks[schema.task_names.index(name)]
    if task.kind != "binary":
        return Choice(dict(NONE), {}, "A regression's prediction is left as it is.")
    logits, labels, weights, group = scores.of(name, task.space, schema)
    weights = weights.astype(np.float64) if weighted else np.ones(len(logits))
    kept = weights > 0
    z, y, w = logits[kept].astype(np.float64), labels[kept] == 1, weights[kept]
    unit = np.arange(len(z)) if group is None else np.unique(group[kept], return_inverse=True)[1]
    units = int(unit.max(initial=-1)) + 1
    if min(y.sum(), (~y).sum()) < FEW or units < FOLDS:
        told = f"{y.sum():,} positives and {(~y).sum():,} negatives in validation"
        told += f", of {units:,} groups" * (group is not None)
        return Choice(dict(NONE), {}, f"Too few rows to fit: {told}.")
    fold = _folds(units)[unit]
    held_out = {method: _held_out(method, z, y, w, fold) for method in METHODS}
    losses = {m: _losses(found, y) for m, found in held_out.items() if found is not None}
    chosen, told = "none", []
    for method in METHODS[1:]:
        if method not in losses:
            told.append(f"{method} cannot be fitted (higher logits have no more positives)")
            continue
        gain, error = _mean(losses[chosen] - losses[method], w, unit)
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


def _losses(z: Float[np.ndarray, " B"], y: np.ndarray) -> Float[np.ndarray, " B"]:
    return np.logaddexp(0.0, np.where(y, -z, z))


def _mean(
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
    model = IsotonicRegression(out_of_bounds="clip").fit(p, y, sample_weight=w)
    x, rates = np.asarray(model.X_thresholds_), np.asarray(model.y_thresholds_)
    rate = y @ w / w.sum()
    lowest, highest = w[p <= x[rates == rates[0]][-1]], w[p >= x[rates == rates[-1]][0]]
    least = (rates[0] * lowest.sum() + rate) / (lowest.sum() + 1)
    most = (rates[-1] * highest.sum() + rate) / (highest.sum() + 1)
    rates = np.clip(rates, least, most) if least < most else np.full_like(rates, rate)
    return {"method": "isotonic", "predicted": x.tolist(), "observed": rates.tolist()}


_FITTED = {"platt": _platt, "isotonic": _isotonic}
