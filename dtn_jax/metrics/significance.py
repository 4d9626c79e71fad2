"""Is one model better than another? A hierarchical bootstrap over seeds and test examples.

Two things make a table's difference of AUCs uncertain: which examples test happens to hold, and
which seeds happened to be trained. Both are drawn again. Every model is scored under the same
draws of examples (whole groups where the data have them: a user's rows are not independent), so
that what is easy or hard about the examples cancels in a difference; a run keeps its AUC under
each of them, and models are compared from these numbers alone. The seeds are then drawn per model.

A draw of the examples moves the mean over seeds; which seeds there are moves it by the deviations
of their AUCs on the whole test split. Few seeds tell little of how far that is, and a bootstrap of
S of them has (S - 1)/S of their variance. So the deviations are drawn with replacement from those
of both models, each in units of its own model's standard deviation and scaled by sqrt(S / (S - 1)),
are given the model's own standard deviation back, and their difference is scaled, repeat by repeat,
by sqrt(n / chi2) with chi2 of n degrees of freedom, Welch's: the difference of means then varies as
Welch's t says it does for samples of two variances, with the seeds' own distribution in place of
the normal. Equal models of 2 to 5 seeds each, their deviations up to ten times apart, are told
apart at 0.05 in 1 to 6 % of simulated comparisons (tests/equations/test_significance.py); in 10 %
where two seeds that scatter ten times as much stand against five.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from dtn_jax.metrics.influence import Units
from dtn_jax.metrics.inputs import Column, Labels, Weights, cumulated
from dtn_jax.metrics.scores import Scores
from dtn_jax.schema import Schema
from dtn_jax.shapes import Float, Int

Name = TypeVar("Name", bound=Hashable)
DRAWS = 2000  # of the test examples, the same for all models of a data set
REPEATS = 200_000  # of a comparison: an example draw and seeds each
FEW = 100
"""Positives below which no significance is told."""


class Comparison(NamedTuple):
    """Of two models, the first less the second.

    Attributes:
      difference: of the mean AUCs over seeds.
      low, high: its 95 % interval.
      p: two-sided, of no difference.
      least: the lowest p that the draws can tell.
    """

    difference: float
    low: float
    high: float
    p: float
    least: float


def resampled_aucs(
    scores: Scores, schema: Schema, weighted: bool = False, draws: int = DRAWS
) -> dict[str, np.ndarray]:
    """The AUC of every binary task@space under each draw of the examples, `[draws]`.

    The draws depend on the number of rows (or on the groups) alone, so those of two runs on one
    split are the same. NaN where a draw lacks a class.

    Args:
      scores: of a split.
      schema: names the tasks and their spaces.
      weighted: whether sample weights count.
      draws: how many.
    """
    rows = len(scores.logits)
    units, ranked = Units(rows, scores.group, most=rows), {}
    for task in schema.tasks:
        for space in task.spaces if task.kind == "binary" else ():
            logits, labels, weights, _ = scores.of(task.name, space, schema)
            unit = units.of_row[scores.rows(task.name, space, schema)]
            weights = weights.astype(np.float64) if weighted else None
            ranked[f"{task.name}@{space}"] = Ranking(logits, labels, unit, weights)
    rng = np.random.default_rng(0)
    aucs = {key: np.empty(draws) for key in ranked}
    for i in range(draws):
        times = np.bincount(rng.integers(units.count, size=units.count), minlength=units.count)
        for key, ranking in ranked.items():
            aucs[key][i] = ranking.auc(times)
    return aucs


class Ranking:
    """Examples in the order of their scores, for the AUC under any weights of their units.

    Args:
      scores: `[B]`.
      labels: `[B]`, 0 or 1.
      unit: `[B]`, the number of what is drawn as one: the example's own, or its group's.
      weights: `[B]`, what each counts; None is 1.
    """

    def __init__(
        self,
        scores: Column,
        labels: Labels,
        unit: Int[np.ndarray, " B"],
        weights: Weights = None,
    ):
        weights = np.ones(len(labels), np.int64) if weights is None else weights
        positive = labels == 1
        order = np.argsort(scores[~positive])
        self.positives, self.negatives = unit[positive], unit[~positive][order]
        self.of_positives, self.of_negatives = weights[positive], weights[~positive][order]
        among = scores[~positive][order]
        self.below = np.searchsorted(among, scores[positive], "left")
        self.not_above = np.searchsorted(among, scores[positive], "right")

    def auc(self, times: Int[np.ndarray, " U"]) -> float:
        """The AUC with each unit's examples taken `times` times; NaN where a class is absent."""
        positives = times[self.positives] * self.of_positives
        drawn = times[self.negatives] * self.of_negatives
        negatives = cumulated(drawn, drawn.dtype.type)
        pairs = positives.sum() * negatives[-1]
        won = positives @ (negatives[self.below] + negatives[self.not_above])
        return float(won / (2 * pairs)) if pairs else float("nan")


def compare(
    ours: Float[np.ndarray, "S R"],
    theirs: Float[np.ndarray, "Q R"],
    our_aucs: Float[np.ndarray, " S"],
    their_aucs: Float[np.ndarray, " Q"],
    repeats: int = REPEATS,
    most: float = 1.0,
    worse: float | None = None,
) -> Comparison:
    """Compares two models by their AUCs per seed and draw of the examples.

    `least` is 2 / (draws + 1): more repeats of R draws tell nothing rarer. Where one side alone
    has several seeds, the other's are taken to scatter alike; with one of each, seeds do not vary.

    Args:
      ours, theirs: the `resampled_aucs` of each seed's run; draws in the same order.
      our_aucs, their_aucs: on the test examples as they are, per seed.
      repeats: of the bootstrap.
      most: no difference is larger; infinity for a metric without bounds.
      worse: given, p is one-sided: of a first model that is worse by this much or more.
    """
    rng = np.random.default_rng(1)
    defined = np.flatnonzero(np.isfinite(ours).all(axis=0) & np.isfinite(theirs).all(axis=0))
    draw = rng.choice(defined, size=repeats)
    differences = (ours.mean(axis=0) - theirs.mean(axis=0))[draw]
    differences += drawn_seeds(our_aucs, their_aucs, repeats, rng)
    low, high = np.clip(np.quantile(differences, [0.025, 0.975]), -most, most)
    tail = min((differences <= 0).mean(), (differences >= 0).mean())
    least = 2 / (len(defined) + 1)
    p = min(1.0, max(2 * tail, least))
    if worse is not None:
        p = max((differences <= -worse).mean(), least / 2)
    difference = float(our_aucs.mean() - their_aucs.mean())
    return Comparison(difference, float(low), float(high), float(p), least)


def drawn_seeds(
    ours: Float[np.ndarray, " S"],
    theirs: Float[np.ndarray, " Q"],
    repeats: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, " N"]:
    """How far the difference of means moves when the seeds are drawn again: see the module.

    A side of one run says nothing of its scatter, and has that of the other side; where both are of
    one run, nothing moves.

    Args:
      ours, theirs: a metric of each seed's run, on the test examples as they are.
      repeats: how many draws.
      rng: of the draws.
    """
    both = (ours, theirs)
    sizes = np.array([len(values) for values in both])
    several = sizes > 1
    deviations = np.array([v.std(ddof=1) if many else 0.0 for v, many in zip(both, several)])
    if not deviations.any():
        return np.zeros(repeats)
    deviations[~several] = deviations.max()
    units = np.concatenate(
        [
            (values - values.mean()) / deviation * np.sqrt(size / (size - 1))
            for values, deviation, size in zip(both, deviations, sizes)
            if size > 1 and deviation
        ]
    )
    first, second = (
        deviation * rng.choice(units, size=(repeats, size)).mean(axis=1)
        for deviation, size in zip(deviations, sizes)
    )
    of_means = deviations**2 / sizes
    if several.all():
        # Welch and Satterthwaite's.
        freedom = of_means.sum() ** 2 / (of_means**2 / (sizes - 1)).sum()
    else:
        freedom = sizes.max() - 1
    return (first - second) * np.sqrt(freedom / rng.chisquare(freedom, size=repeats))


def holm(p: Mapping[Name, float]) -> dict[Name, float]:
    """Holm's adjusted p-values: below 0.05, the family has an error with at most that chance.

    S. Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    adjusted, highest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=p.__getitem__)):
        highest = max(highest, min(1.0, (len(p) - rank) * p[name]))
        adjusted[name] = highest
    return {name: adjusted[name] for name in p}
