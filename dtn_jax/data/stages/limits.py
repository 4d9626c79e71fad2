"""What a log may not exceed: the share of bad rows, and of positives outside of other tasks.

A positive is outside on a row where another task is 0, though its task is taken to happen only
where that is 1. A score in another space than that of the task's loss, and a model that multiplies
along upstream tasks, rest on p(t | s) = p(t) / p(s) (`dtn_jax.metrics.spaces`). It holds only if
each row with t has s too; else it is too high by the factor 1 / (1 - share of t's positives
without s).
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dtn_jax.data import progress
from dtn_jax.data.progress import percent
from dtn_jax.data.raw.files import RawFile
from dtn_jax.data.schemas.spec import Spec, TaskSpec
from dtn_jax.data.stages.account import Account
from dtn_jax.data.stages.counts import Counts
from dtn_jax.errors import UserError
from dtn_jax.files import write_whole
from dtn_jax.schema import factors

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


class Relation(NamedTuple):
    """A binary task, and another one that its keys name.

    Attributes:
      task: the task.
      other: the other one's name.
      keys: those of KEYS that name the other one, in words.
      assumed: whether a score or a model takes the task to happen only where the other one does.
        Not so where that is the space of its loss, unless another space's score is made from it:
        the loss leaves out the rows outside, and no score speaks of them.
      known, outside: positives where the other task's label is known, and those where it is 0.
      told: '900 of 3,900 positives of task 'order' (23.1 %) lie on rows where 'click' is 0'; with
        the column of the weights, if the log has one.
    """

    task: TaskSpec
    other: str
    keys: str
    assumed: bool
    known: int | float
    outside: int | float
    told: str


def relations(spec: Spec, counts: Counts) -> Iterator[Relation]:
    """Of each binary task with those that its space, its further spaces and its upstream tasks
    name."""
    binary = {task.name: task for task in spec.tasks if task.kind == "binary"}
    spaces = {name: task.space for name, task in binary.items()}
    by = f", counted by {spec.weight!r}," if spec.weight else ""
    multiplied = set()  # tasks whose probabilities are factors of a score in another space
    for task in binary.values():
        others = [space for space in task.also_report if space != task.space]
        for name in (task.name, *others) if others else ():
            multiplied |= {*factors(name, spaces)}
    for name, task in binary.items():
        named = {"space": (task.space,), "also_report": task.also_report, "upstream": task.upstream}
        for other in dict.fromkeys(other for key in KEYS for other in named[key]):
            if other in binary:
                known, outside = counts[name][other]
                told = (
                    f"{outside:,.0f} of {known:,.0f} positives of task {name!r}{by} "
                    f"({percent(outside, known)}) lie on rows where {other!r} is 0"
                )
                keys = " and ".join(key for key in KEYS if other in named[key])
                assumed = other != task.space or name in multiplied
                yield Relation(task, other, keys, assumed, known, outside, told)


def lines(spec: Spec, counts: Counts) -> list[str]:
    """A line for each relation of a schema file that has positives outside."""
    texts = []
    for relation in relations(spec, counts):
        if relation.outside:
            why = ", outside the space of its loss: it is not trained on them"
            if relation.assumed:
                why = f"; by its {relation.keys} it happens only where {relation.other!r} is 1"
            texts.append(relation.told + why)
    return texts


def check_positives(spec: Spec, counts: Counts) -> None:
    """Raises UserError where a task has more positives outside than the schema file allows."""
    for task, other, keys, assumed, known, outside, told in relations(spec, counts):
        allowed = task.positives_outside * known * (1 + 1e-12)  # the product's rounding
        if assumed and outside > allowed:
            enough = -(-100 * outside // known) / 100
            raise UserError(
                f"{spec.path or spec.name}, line {task.line}: {told}, more than "
                f"positives_outside: {task.positives_outside:g} allows: by its {keys} it happens "
                f"only where {other!r} is 1. Let that label be 1 on these rows too, or leave it "
                f"out of its {keys}, or accept the error: "
                f"{task.name}: {{positives_outside: {enough:g}}}"
            )
