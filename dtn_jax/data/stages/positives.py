"""Positives on rows where another task is 0, though theirs is taken to happen only where that is 1.

A score in another space than that of the task's loss, and a model that multiplies along upstream
tasks, rest on p(t | s) = p(t) / p(s) (`dtn_jax.metrics.spaces`). It holds only if each row with t
has s too; else it is too high by the factor 1 / (1 - share of t's positives without s).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.data.progress import percent
from dtn_jax.data.rows import Rows
from dtn_jax.data.schemas.spec import Spec, TaskSpec
from dtn_jax.schema import Task, factors

Counts = Mapping[str, Mapping[str, Sequence[int | float]]]  # as of `Positives.counts`
NOTE = "positives_outside"  # where a set's notes have the counts
KEYS = ("space", "also_report", "upstream")


class Positives:
    """Counts of all pairs of binary tasks, over all rows of a log; a row counts by its weight.

    Attributes:
      counts: {task: {other: [rows where the task is 1 and the other one's label is known, those of
        them where the other one is 0]}}. A missing label is not 0.
    """

    def __init__(self, spec: Spec):
        self.names = [task.name for task in spec.tasks if task.kind == "binary"]
        self.counts = {t: {o: [0, 0] for o in self.names if o != t} for t in self.names}

    def add(self, rows: Rows) -> None:
        if not self.names:
            return
        labels, weight = rows.labels(self.names), rows.weight()
        positive = (labels == 1).astype(np.float64)
        if weight is not None:
            positive *= weight[:, None]
        known, zero = ((positive.T @ those).tolist() for those in (~np.isnan(labels), labels == 0))
        for i, by_other in enumerate(self.counts.values()):
            for j, other in enumerate(self.names):
                if i != j:
                    by_other[other][0] += known[i][j]
                    by_other[other][1] += zero[i][j]

    def include(self, more: Counts) -> None:
        """Adds the counts of other rows."""
        for task, by_other in more.items():
            for other, pair in by_other.items():
                before = self.counts[task][other]
                self.counts[task][other] = [a + b for a, b in zip(before, pair, strict=True)]


@dataclasses.dataclass(frozen=True)
class Relation:
    """A binary task, and another one that its keys name.

    Attributes:
      task: its name.
      other: the other one's.
      keys: those of KEYS that name the other one.
      assumed: whether a score or a model takes the task to happen only where the other one does.
        Not so where that is the space of its loss, unless another space's score is made from it:
        the loss leaves out the rows outside, and no score speaks of them.
    """

    task: str
    other: str
    keys: tuple[str, ...]
    assumed: bool

    def outside(self, counts: Counts) -> tuple[int | float, int | float]:
        """(positives outside, positives where the other task's label is known); 0 of 0 of a set
        that has not counted them."""
        known, outside = counts.get(self.task, {}).get(self.other, (0, 0))
        return outside, known

    def told(self, counts: Counts, weight: str) -> str:
        """'900 of 3,900 positives of task 'order' (23.1 %) lie on rows where 'click' is 0'; with
        the column of the weights, if the log has one."""
        outside, known = self.outside(counts)
        by = f", counted by {weight!r}," if weight else ""
        return (
            f"{outside:,.0f} of {known:,.0f} positives of task {self.task!r}{by} "
            f"({percent(outside, known)}) lie on rows where {self.other!r} is 0"
        )


def relations(tasks: Sequence[Task | TaskSpec]) -> list[Relation]:
    """Of each binary task with those that its space, its further spaces and its upstream tasks
    name."""
    binary = {task.name: task for task in tasks if task.kind == "binary"}
    spaces = {name: task.space for name, task in binary.items()}
    multiplied = set()  # tasks whose probabilities are factors of a score in another space
    for task in binary.values():
        others = [space for space in task.also_report if space != task.space]
        for name in (task.name, *others) if others else ():
            multiplied |= {*factors(name, spaces)}
    found = []
    for task in binary.values():
        named = {"space": (task.space,), "also_report": task.also_report, "upstream": task.upstream}
        for other in dict.fromkeys(name for key in KEYS for name in named[key]):
            if other in binary:
                keys = tuple(key for key in KEYS if other in named[key])
                assumed = other != task.space or task.name in multiplied
                found.append(Relation(task.name, other, keys, assumed))
    return found


def lines(spec: Spec, counts: Counts) -> list[str]:
    """A line for each relation of a schema file that has positives outside."""
    found = []
    for relation in relations(spec.tasks):
        if relation.outside(counts)[0]:
            why = ", outside the space of its loss: it is not trained on them"
            if relation.assumed:
                keys = " and ".join(relation.keys)
                why = f"; by its {keys} it happens only where {relation.other!r} is 1"
            found.append(relation.told(counts, spec.weight) + why)
    return found


def problem(spec: Spec, counts: Counts) -> str:
    """What is wrong with the first relation that has more positives outside than its task's
    `positives_outside` allows; '' where none has."""
    tasks = {task.name: task for task in spec.tasks}
    for relation in (found for found in relations(spec.tasks) if found.assumed):
        (outside, known), task = relation.outside(counts), tasks[relation.task]
        if outside <= task.positives_outside * known * (1 + 1e-12):  # the product's rounding
            continue
        keys, enough = " and ".join(relation.keys), -(-100 * outside // known) / 100
        name, other = task.name, relation.other
        return (
            f"{spec.path or spec.name}, line {task.line}: "
            f"{relation.told(counts, spec.weight)}, more than positives_outside: "
            f"{task.positives_outside:g} allows. By its {keys} it happens only "
            f"where {other!r} is 1; otherwise p({name} | {other}) = p({name}) / p({other}) is "
            f"wrong. Let the label of {other!r} be 1 on these rows too, or leave {other!r} out of "
            f"its {keys}, or accept the error: {name}: {{positives_outside: {enough:g}}}"
        )
    return ""
