"""One label of a data set: its kind, and the rows on which it is learned and reported."""

from __future__ import annotations

import dataclasses

from dtn_jax.errors import UserError, choose

TASK_KINDS = ("binary", "regression")
ALL = "all"  # the space of all impressions
MEAN = "mean"  # of train.select: the mean over all tasks
RESERVED = "@/,:+="  # separate task names in options, in metric keys and in logs


@dataclasses.dataclass(frozen=True)
class Task:
    """One label.

    Attributes:
      name: the label column's name.
      kind: `binary` or `regression`.
      space: the rows of its loss and its first metric: `all`, or those where this other
        (binary) task's label is 1.
      also_report: further spaces in which its metrics are reported. The task is taken to happen
        only there (spaces.py), as an order only where there was a click.
      upstream: the tasks whose prediction it may look at (click for order).
      quantiles: of a regression task in a run whose loss needs them, evenly spaced quantiles of
        train's labels, least and largest included, by the id of the field that the loss reads.
    """

    name: str
    kind: str = "binary"
    space: str = ALL
    also_report: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    quantiles: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self):
        choose(f"kind of task {self.name!r}", self.kind, TASK_KINDS)
        if self.name in ("", ALL, MEAN) or set(self.name) & set(RESERVED):
            taken = f"{ALL!r}, {MEAN!r} and the characters {RESERVED} are taken"
            raise UserError(f"a task cannot be called {self.name!r}: {taken}")
        for name in ("also_report", "upstream"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))  # once each
        object.__setattr__(self, "quantiles", tuple(map(tuple, self.quantiles)))

    @property
    def spaces(self) -> tuple[str, ...]:
        """Every space in which metrics are reported, that of the loss first."""
        return (self.space, *(s for s in self.also_report if s != self.space))
