"""How well each field alone ranks each binary label: one that does it too well may be a leak.

Train gives every value the log-odds of the label; validation is ranked by the sum of those of a
row's values, as naive Bayes does. The odds are smoothed towards the label's rate by M rows
(D. Micci-Barreca, A preprocessing scheme for high-cardinality categorical attributes, SIGKDD
Explorations 3(1), 2001). A number is cut into buckets at train's quantiles; of a vector, the entry
that ranks train best is taken.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from dtn_jax.datasets.description.fields import counted
from dtn_jax.datasets.description.labels import in_space
from dtn_jax.datasets.description.sample import Sample, numbers_of, slots_of
from dtn_jax.metrics.auc import auc
from dtn_jax.schema import Field, Schema
from dtn_jax.shapes import Bool, Float, Int, Shaped

SUSPECT = 0.95  # an AUC above it is a suspect
M = 10  # rows at the label's rate that every value has beside its own
FEWEST = 20  # rows of each class that a figure needs
SCORED = 200_000  # rows of validation, at most; of a vector, of train too
BUCKETS = 32  # of a standardised number, or of a vector's entry

VALUE, KNOWN, COUNT = "its value", "whether it is known", "how many values"
TARGET = "whether it lists its target"  # as a history does that the row itself has slipped into


@dataclasses.dataclass(frozen=True)
class Alone:
    """What one field says of one label.

    Attributes:
      field: its name.
      key: task@space, the space of the task's loss.
      by: VALUE; KNOWN, whether it is; COUNT, of a bag, how many of its values are known; or TARGET,
        of a sequence, whether its newest value is its target, or an earlier one is.
      auc: on validation.
      entry: of a vector, the number that was taken; else None.
    """

    field: str
    key: str
    by: str
    auc: float
    entry: int | None = None

    @property
    def suspect(self) -> bool:
        """Whether it ranks the task so well that it may hold the label."""
        return self.auc > SUSPECT


def alone(
    train: Sample, validation: Sample, schema: Schema, by_weight: bool = False
) -> Iterator[list[Alone]]:
    """Field by field, in the schema's order: the figures of all tasks that have FEWEST rows of each
    class; `by_weight`: train's rows count by their weights, as where negatives were sampled."""
    scored = validation.thinned(SCORED)
    pairs = {False: (train, scored), True: (train.thinned(SCORED), scored)}
    tasks = {thin: _tasks(*pair, schema, by_weight) for thin, pair in pairs.items()}
    for field in schema.fields:
        thin = field.length > 0  # hundreds of entries
        yield _of_field(field, schema, *pairs[thin], tasks[thin])


@dataclasses.dataclass(frozen=True)
class _Task:
    """The rows of a task that are fitted, and those that are scored, with their labels; and the
    weights of the former, None for 1."""

    key: str
    fitted: Int[np.ndarray, " B"]
    scored: Int[np.ndarray, " S"]
    labels: tuple[Bool[np.ndarray, " B"], Bool[np.ndarray, " S"]]
    weights: Float[np.ndarray, " B"] | None


def _tasks(train: Sample, validation: Sample, schema: Schema, by_weight: bool) -> list[_Task]:
    """The binary tasks that have enough rows of each class."""
    found = []
    for column, task in enumerate(schema.tasks):
        pair = (train, validation)
        rows = [np.flatnonzero(in_space(s, schema, task.name, task.space)) for s in pair]
        labels = [s.labels[own, column] == 1 for s, own in zip(pair, rows, strict=True)]
        fewest = min(min(own.sum(), len(own) - own.sum()) for own in labels)
        if task.kind == "binary" and fewest >= FEWEST:
            weights = train.weights[rows[0]] if by_weight else None
            found.append(_Task(f"{task.name}@{task.space}", *rows, tuple(labels), weights))
    return found


def _of_field(
    field: Field, schema: Schema, train: Sample, validation: Sample, tasks: list[_Task]
) -> list[Alone]:
    slots, samples = slots_of(schema.fields)[field.name], (train, validation)
    ids = tuple(sample.ids[:, slots] for sample in samples)
    there = tuple((own > 0).sum(axis=1, keepdims=True).astype(np.int32) for own in ids)
    columns: Iterable[_Column] = [_Column(VALUE, field.rows, *ids)]
    if field.numbers:
        place = numbers_of(schema.fields)[field.name]
        columns = _entries(field, ids, tuple(sample.numeric[:, place] for sample in samples))
    by = KNOWN if field.slots == 1 else COUNT
    if any(len(np.unique(own)) > 1 for own in there):
        columns = itertools.chain(columns, [_Column(by, field.slots + 1, *there)])
    if field.target:
        target = slots_of(schema.fields)[field.target]
        listed = [_listed(own, s.ids[:, target]) for own, s in zip(ids, samples, strict=True)]
        columns = itertools.chain(columns, [_Column(TARGET, 3, *listed)])
    best: dict[tuple[str, str], tuple[float, Alone]] = {}
    for column in columns:
        for task in tasks:
            fit = fitted(column.train[task.fitted], task.labels[0], column.rows, task.weights)
            place, in_train = (task.key, column.by), fit.auc() if column.entry is not None else 0.5
            if place not in best or in_train > best[place][0]:  # an entry is picked on train
                area = auc(fit.score(column.validation[task.scored]), task.labels[1])
                figure = Alone(field.name, task.key, column.by, area, column.entry)
                best[place] = in_train, figure
    return [figure for _, figure in best.values()]


def _listed(ids: Int[np.ndarray, "B S"], target: Int[np.ndarray, "B 1"]) -> np.ndarray:
    """`[B, 1]`: 2 where the newest id is the target, 1 where an earlier one is, 0 where none is."""
    newest = np.maximum((ids >= 0).sum(axis=1, keepdims=True) - 1, 0)
    last = (np.take_along_axis(ids, newest, axis=1) == target) & (target > 0)
    some = ((ids == target) & (target > 0)).any(axis=1, keepdims=True)
    return (some.astype(np.int32) + last).astype(np.int32)


@dataclasses.dataclass(frozen=True)
class _Column:
    """Values that a label is told by: ids of `rows` kinds in `train` and in `validation`."""

    by: str
    rows: int
    train: Int[np.ndarray, "B S"]
    validation: Int[np.ndarray, "V S"]
    entry: int | None = None


def _entries(field: Field, ids: tuple, numbers: tuple) -> Iterator[_Column]:
    """Each number of a field as the id of a bucket; 0 where it is missing."""
    for entry in range(field.numbers):
        edges = edges_of(numbers[0][ids[0][:, 0] > 0, entry])
        cut = (
            np.where(own > 0, 1 + np.searchsorted(edges, x[:, [entry]], side="right"), 0)
            for own, x in zip(ids, numbers, strict=True)
        )
        train, validation = (values.astype(np.int32) for values in cut)
        which = entry if field.length else None
        yield _Column(VALUE, len(edges) + 2, train, validation, which)


def edges_of(values: Shaped[np.ndarray, " B"], buckets: int = BUCKETS) -> np.ndarray:
    """Where numbers are cut into buckets that are about equally filled; equal ones stay
    together."""
    if not len(values):
        return np.empty(0, values.dtype)
    some = values[:: max(-(-len(values) // SCORED), 1)]
    return np.unique(np.quantile(some, np.arange(1, buckets) / buckets).astype(values.dtype))


@dataclasses.dataclass(frozen=True)
class Fitted:
    """What train's values say of a label.

    Attributes:
      ids: those that occur, rising; -1 stands for a row without any.
      odds: what each adds to the log-odds of the label.
      positives, negatives: how often each occurs with either label.
    """

    ids: Int[np.ndarray, " K"]
    odds: Float[np.ndarray, " K"]
    positives: Float[np.ndarray, " K"]
    negatives: Float[np.ndarray, " K"]

    def auc(self) -> float:
        """Of train's own values, one a row."""
        classes = np.repeat([True, False], len(self.ids))
        weights = np.concatenate([self.positives, self.negatives])
        return auc(np.tile(self.odds, 2), classes, weights) or 0.0

    def score(self, ids: Int[np.ndarray, "B S"]) -> Float[np.ndarray, " B"]:
        """The sum of the log-odds of each row's values; one that train lacks adds nothing."""
        place = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        added = np.where(self.ids[place] == ids, self.odds[place], 0.0)
        none = (ids < 0).all(axis=1)
        total = np.where(ids < 0, 0.0, added).sum(axis=1)
        return np.where(none, added[:, 0], total)


def fitted(
    ids: Int[np.ndarray, "B S"],
    labels: Bool[np.ndarray, " B"],
    rows: int,
    weights: Float[np.ndarray, " B"] | None = None,
) -> Fitted:
    """Fits the log-odds of a label, of which both classes are there, to the ids of its rows.

        log (p(id) / (1 - p(id))) - log (p / (1 - p)),  p(id) = (positives + M p) / (rows + M)

    Args:
      ids: -1 is padding.
      labels: of the rows.
      rows: ids are below this.
      weights: what a row counts; None is 1.
    """
    w = np.ones(len(ids)) if weights is None else weights.astype(np.float64)
    each = None if weights is None else np.broadcast_to(w[:, None], ids.shape)
    own, counts = counted(ids, rows, each)
    among, positive = counted(ids[labels], rows, None if each is None else each[labels])
    positives = np.zeros(len(own))
    positives[np.searchsorted(own, among)] = positive
    none = (ids < 0).all(axis=1)
    if none.any():  # no value says something too
        own = np.concatenate([[-1], own])
        counts = np.concatenate([[w[none].sum()], counts])
        positives = np.concatenate([[w[none & labels].sum()], positives])
    rate = w[labels].sum() / w.sum()
    p = (positives + M * rate) / (counts + M)
    odds = np.log(p / (1 - p)) - np.log(rate / (1 - rate))
    return Fitted(own, odds, positives, counts - positives)
