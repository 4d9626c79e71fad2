"""How well a score ranks rows by what each is worth: a gain of 0 or more, such as click + 5 order.

With a gain of 0 or 1 all are the metrics of binary labels. Otherwise, with g the gain of a row and
G the largest one:

    AUC, GAUC    a row counts as g / G of a positive and as 1 - g / G of a negative
    NDCG@k       with the gain itself over log2(place + 1), over that of the best order
    recall@k     of each group's gain the share in its first k rows

Rows of equal scores have the mean over their orders, as in within_groups.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from dtn_jax.metrics import METRICS, within_groups
from dtn_jax.metrics.influence import Influence, Units
from dtn_jax.metrics.inputs import Column, Weights
from dtn_jax.metrics.metric import Rows
from dtn_jax.metrics.scores import Scores
from dtn_jax.schema import ALL, Schema
from dtn_jax.shapes import Float, Int

DEPTHS = (5, 10)  # k
OF_LISTS = (*(f"ndcg_at_{k}" for k in DEPTHS), *(f"recall_at_{k}" for k in DEPTHS))


def labels_of(scores: Scores, schema: Schema) -> dict[str, Column]:
    """{task: the label of each row}, NaN where it is not known; 0 outside of the task's space, as
    where nobody clicked, and so nobody ordered."""
    labels: dict[str, np.ndarray] = {}
    spaces = {task.name: task.space for task in schema.tasks}

    def of(name: str) -> np.ndarray:
        if name not in labels:
            column = schema.task_names.index(name)
            label = np.where(scores.label_mask[:, column], scores.labels[:, column], np.nan)
            outside = spaces[name] != ALL and of(spaces[name]) == 0
            labels[name] = np.where(np.isnan(label) & outside, 0.0, label)
        return labels[name]

    return {name: of(name) for name in schema.task_names}


def gains_of(
    labels: Mapping[str, Column], group: Int[np.ndarray, " B"] | None, weights: Weights
) -> Iterator[tuple[str, Gains]]:
    """(name, the gains of the rows whose label is known, and which weigh more than 0).

    A label is a gain; one that is below 0 somewhere, or nowhere above it, is left out.
    """
    units = Units(len(next(iter(labels.values()))), group)
    for name, label in labels.items():
        at = np.flatnonzero(~np.isnan(label) & (weights is None or weights > 0))
        if (label[at] >= 0).all() and (label[at] > 0).any():
            extra = (one if one is None else one[at] for one in (group, weights))
            yield name, Gains(label[at].astype(np.float64), at, units, *extra)


class Gains:
    """N rows and what each is worth; `places` are theirs among all, of which `units` are.

    Attributes:
      metrics: those that they have: AUC, and with groups GAUC, NDCG@k and recall@k.
    """

    def __init__(
        self,
        gain: Float[np.ndarray, " N"],
        places: Int[np.ndarray, " N"],
        units: Units,
        group: Int[np.ndarray, " N"] | None = None,
        weights: Float[np.ndarray, " N"] | None = None,
    ):
        self.gain, self.places, self.units = gain, places, units
        self.group, self.weights = group, weights
        self.metrics = ("auc",) if group is None else ("auc", "gauc", *OF_LISTS)
        share = gain / gain.max(initial=0) if gain.any() else gain
        self.sides = np.flatnonzero(share > 0), np.flatnonzero(share < 1)
        self.share = np.concatenate([share[self.sides[0]], 1 - share[self.sides[1]]])

    def value(self, metric: str, scores: Float[np.ndarray, " N"]) -> float | None:
        """A metric of the scores; None where it is not defined, as without any gain."""
        if metric in OF_LISTS:
            weight, _, values = self._lists(scores)
            return within_groups.mean_over_groups(weight, values[metric])
        return METRICS[metric].compute(self._binary(scores)[0])

    def influences(self, scores: Float[np.ndarray, " N"]) -> dict[str, Influence]:
        """{metric: its value, and what each unit adds to it}."""
        rows, at = self._binary(scores)
        by_metric = {"auc": METRICS["auc"].influence(rows, self.units.at(self.places[at]))}
        if self.group is not None:
            weight, aucs = within_groups.group_aucs(rows)
            first = at[rows.once(within_groups.first_of_groups)]
            by_metric["gauc"] = self._mean(first, weight, aucs)
            weight, first, values = self._lists(scores)
            by_metric |= {name: self._mean(first, weight, each) for name, each in values.items()}
        return by_metric

    def _mean(self, first: np.ndarray, weight: np.ndarray, values: np.ndarray) -> Influence:
        """A mean over groups; `first` is a row of each."""
        known = ~np.isnan(values)
        over, under = (weight * values)[known], weight[known]
        return self.units.at(self.places[first[known]]).quotient(over, under)

    def _binary(self, scores: Float[np.ndarray, " N"]) -> tuple[Rows, Int[np.ndarray, " M"]]:
        """The rows as positives and negatives, and which row each is."""
        at = np.concatenate(self.sides)
        labels = np.arange(len(at)) < len(self.sides[0])
        weights = self.share if self.weights is None else self.share * self.weights[at]
        weights = None if (weights == 1).all() else weights
        group = None if self.group is None else self.group[at]
        return Rows("binary", scores[at], labels, weights, group), at

    def _lists(self, scores: Float[np.ndarray, " N"]) -> tuple:
        """Of each group its rows' mean weight, a row of it, and {metric: its value}."""
        order = np.lexsort((-scores, self.group))
        group, score, gain = self.group[order], scores[order], self.gain[order]
        new = np.ones(len(group), bool)
        new[1:] = group[1:] != group[:-1]
        tied = ~new
        tied[1:] &= score[1:] == score[:-1]
        starts, blocks = np.flatnonzero(new), np.flatnonzero(~tied)
        sizes = np.diff(starts, append=len(group))
        place = np.arange(len(group)) - np.repeat(starts, sizes)
        rows = np.diff(blocks, append=len(group))
        best = self.gain[np.lexsort((-self.gain, self.group))]
        gain = np.repeat(np.add.reduceat(gain, blocks) / rows, rows)
        values = {}
        for k in DEPTHS:
            first = place < k
            discount = first / np.log2(place + 2)
            for name, worth, most in (("ndcg", discount, best * discount), ("recall", first, best)):
                total = np.add.reduceat(most, starts)
                reached = np.add.reduceat(gain * worth, starts)
                values[f"{name}_at_{k}"] = within_groups.quotients(reached, total)
        weights = np.ones(len(group)) if self.weights is None else self.weights[order]
        mean_weights = np.add.reduceat(weights, starts) / sizes
        return mean_weights, order[starts], {name: values[name] for name in OF_LISTS}
