"""Labels that only happen where another one does: an order after a click."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from dtn_jax.datasets.logs.infer.draft import TaskDraft
from dtn_jax.datasets.logs.infer.words import percent, quoted
from dtn_jax.datasets.logs.schema.spec import OUTSIDE

LEAST = 20  # rows with the label, to say anything of it
CHANCE = 10.0  # of them, those that would be elsewhere if the labels had nothing to do with it
STRAY = 0.001  # of them, those that may be elsewhere: late or lost events


@dataclasses.dataclass(frozen=True)
class Overlap:
    """Where a label happens, by the binary label `outer`, on rows of the sample with both.

    Attributes:
      count: rows where it happens; a regression happens where it is above 0.
      outside: of these, those where `outer` is 0.
      by_chance: how many would be, if the labels had nothing to do with each other.
    """

    count: int
    outside: int
    by_chance: float

    @property
    def within(self) -> bool:
        """Whether it happens only where `outer` does."""
        return self._enough and self.outside <= STRAY * self.count

    @property
    def mostly(self) -> bool:
        """Whether it does in most rows, and much more often than by chance, but not always."""
        rare = 2 * self.outside <= min(self.count, self.by_chance)
        return self._enough and rare and not self.within

    @property
    def _enough(self) -> bool:
        return self.count >= LEAST and self.by_chance >= CHANCE


def overlap(inner: TaskDraft, outer: TaskDraft) -> Overlap | None:
    """None where `inner` cannot be within `outer`."""
    if inner is outer or not outer.binary:
        return None
    if not inner.binary and (np.nanmin(inner.values) < 0 or (inner.values != 0).all()):
        return None
    known = ~np.isnan(inner.values) & ~np.isnan(outer.values)
    happens, around = inner.values[known] > 0, outer.values[known] == 1
    count, outside = int(happens.sum()), int((happens & ~around).sum())
    if inner.binary and count >= around.sum():
        return None
    return Overlap(count, outside, count * float(1 - around.mean()) if len(around) else 0.0)


def arrange(tasks: Sequence[TaskDraft]) -> None:
    """Writes `upstream` and `also_report` of each task: the nearest of the labels around it; and
    says which labels are around most of its rows only."""
    pairs = {t.name: {o.name: (o, found) for o in tasks if (found := overlap(t, o))} for t in tasks}
    around = {
        t: {name for name, (_, found) in by.items() if found.within} for t, by in pairs.items()
    }
    for task in tasks:
        outer = [o for o, found in pairs[task.name].values() if found.within]
        nearest = [o for o in outer if not any(o.name in around[p.name] for p in outer)]
        what = "" if task.binary else " above 0"
        if nearest:
            listed = [quoted(o.name) for o in nearest]
            task.options |= {"upstream": listed, "also_report": listed}
            counts = " and ".join(f"{o.name} ({o.positives:,})" for o in nearest)
            outside = sum(pairs[task.name][o.name][1].outside for o in nearest)
            but = f" but for {outside:,}" if outside else ""
            task.notes.append(f"{task.positives:,} rows{what}, all{but} among those of {counts}")
        for other, found in pairs[task.name].values():
            if found.mostly:
                limit = f"; prepare allows {100 * OUTSIDE:g} %, or what positives_outside says"
                task.notes.append(
                    f"{found.outside:,} of {found.count:,} rows{what} "
                    f"({percent(found.outside / found.count)}) are where {other.name} is 0, so it "
                    f"has no upstream: [{quoted(other.name)}] here{limit if task.binary else ''}"
                )


def copies(tasks: Sequence[TaskDraft]) -> list[str]:
    """What to say of labels that are the same in every row."""
    found = []
    for n, task in enumerate(tasks):
        for other in tasks[:n]:
            if np.array_equal(task.values, other.values, equal_nan=True):
                found.append(f"the labels of {other.name} and {task.name} are the same in all rows")
    return found
