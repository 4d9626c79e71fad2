"""Labels that only happen where another one does: an order after a click."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dtn_jax.datasets.logs.infer.draft import TaskDraft
from dtn_jax.datasets.logs.infer.words import quoted

LEAST = 20  # rows with the label, to say anything of it
CHANCE = 10.0  # of them, those that would be elsewhere if the labels had nothing to do with it
STRAY = 0.001  # of them, those that may be elsewhere: late or lost events


def within(inner: TaskDraft, outer: TaskDraft) -> bool:
    """Whether `inner` happens only where the binary label `outer` is 1, by the sample's counts.

    A regression happens where it is above 0.
    """
    if inner is outer or not outer.binary:
        return False
    if not inner.binary and (np.nanmin(inner.values) < 0 or (inner.values != 0).all()):
        return False
    known = ~np.isnan(inner.values) & ~np.isnan(outer.values)
    happens, around = inner.values[known] > 0, outer.values[known] == 1
    count, outside = int(happens.sum()), int((happens & ~around).sum())
    by_chance = count * float(1 - around.mean()) if len(around) else 0.0
    rarer = count < around.sum() or not inner.binary
    return count >= LEAST and by_chance >= CHANCE and outside <= STRAY * count and bool(rarer)


def arrange(tasks: Sequence[TaskDraft]) -> None:
    """Writes `upstream` and `also_report` of each task: the nearest of the labels around it."""
    around = {t.name: [o for o in tasks if within(t, o)] for t in tasks}
    for task in tasks:
        outer = around[task.name]
        nearest = [o for o in outer if not any(o in around[p.name] for p in outer)]
        if not nearest:
            continue
        listed = [quoted(o.name) for o in nearest]
        task.options |= {"upstream": listed, "also_report": listed}
        counts = " and ".join(f"{o.name} ({o.positives:,})" for o in nearest)
        what = "" if task.binary else " above 0"
        outside = sum(int(((task.values > 0) & (o.values == 0)).sum()) for o in nearest)
        but = f" but for {outside:,}" if outside else ""
        task.notes.append(f"{task.positives:,} rows{what}, all{but} among those of {counts}")


def copies(tasks: Sequence[TaskDraft]) -> list[str]:
    """What to say of labels that are the same in every row."""
    found = []
    for n, task in enumerate(tasks):
        for other in tasks[:n]:
            if np.array_equal(task.values, other.values, equal_nan=True):
                found.append(f"the labels of {other.name} and {task.name} are the same in all rows")
    return found
