"""What a log may not exceed: the share of bad rows, and of positives outside of other tasks.

A positive is outside on a row where another task is 0, though its task is taken to happen only
where that is 1. A score in another space than that of the task's loss, and a model that multiplies
along upstream tasks, rest on p(t | s) = p(t) / p(s) (`dtn_jax.metrics.spaces`). It holds only if
each row with t has s too; else it is too high by the factor 1 / (1 - share of t's positives
without s).
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from dtn_jax.data import progress
from dtn_jax.data.progress import percent
from dtn_jax.data.raw.files import RawFile
from dtn_jax.data.schemas.spec import Spec, TaskSpec
from dtn_jax.data.stages.account import Account
from dtn_jax.data.stages.counts import Counts
from dtn_jax.errors import UserError
from dtn_jax.files import write_whole
from dtn_jax.schema import Task, factors

REJECTS = "rejects.jsonl"
WHERE = f"the first bad rows of each kind are in {REJECTS}, beside the set's files"
NOTE = "positives_outside"  # where a set's notes have the counts
KEYS = ("space", "also_report", "upstream")


def check_rejects(
    spec: Spec, files: Sequence[RawFile], account: Account, home: pathlib.Path, most: float
) -> None:
    """Shows the bad rows; raises UserError where there are too many."""
    if not account.rows:
        raise UserError(f"the raw files of {spec.name} hold no rows: {files[0].address}, …")
    for line in account.summary():
        progress.say(line)
    if account.exceeds(most):
        path = home / REJECTS
        write_whole(path, account.lines())
        raise UserError(
            f"{account.rejected:,} of {account.rows:,} rows are bad "
            f"({percent(account.rejected, account.rows)}), more than "
            f"--max_reject_rate={most:g} allows: {account.summary(1)[0]}. "
            f"No set is written; the first rows of each kind are in {path}"
        )
    if account.rejected == account.rows:
        raise UserError(f"no row of {spec.name} is good: {account.summary(1)[0]}")
    if account.kept:
        progress.say(WHERE)
    (home / REJECTS).unlink(missing_ok=True)  # of an earlier call, which failed


# Positives outside.


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
    pairs = []
    for task in binary.values():
        named = {"space": (task.space,), "also_report": task.also_report, "upstream": task.upstream}
        for other in dict.fromkeys(name for key in KEYS for name in named[key]):
            if other in binary:
                keys = tuple(key for key in KEYS if other in named[key])
                assumed = other != task.space or task.name in multiplied
                pairs.append(Relation(task.name, other, keys, assumed))
    return pairs


def lines(spec: Spec, counts: Counts) -> list[str]:
    """A line for each relation of a schema file that has positives outside."""
    texts = []
    for relation in relations(spec.tasks):
        if relation.outside(counts)[0]:
            why = ", outside the space of its loss: it is not trained on them"
            if relation.assumed:
                keys = " and ".join(relation.keys)
                why = f"; by its {keys} it happens only where {relation.other!r} is 1"
            texts.append(relation.told(counts, spec.weight) + why)
    return texts


def check_positives(spec: Spec, counts: Counts) -> None:
    """Raises UserError where a task has more positives outside than the schema file allows."""
    tasks = {task.name: task for task in spec.tasks}
    for relation in (pair for pair in relations(spec.tasks) if pair.assumed):
        (outside, known), task = relation.outside(counts), tasks[relation.task]
        if outside <= task.positives_outside * known * (1 + 1e-12):  # the product's rounding
            continue
        keys, enough = " and ".join(relation.keys), -(-100 * outside // known) / 100
        raise UserError(
            f"{spec.path or spec.name}, line {task.line}: "
            f"{relation.told(counts, spec.weight)}, more than positives_outside: "
            f"{task.positives_outside:g} allows: by its {keys} it happens only where "
            f"{relation.other!r} is 1. Let that label be 1 on these rows too, or leave it out of "
            f"its {keys}, or accept the error: {task.name}: {{positives_outside: {enough:g}}}"
        )
