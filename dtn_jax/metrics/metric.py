"""A metric is one record; every table, plot, log and choice of states reads it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

import numpy as np

from dtn_jax.metrics.influence import Influence, Units
from dtn_jax.metrics.inputs import checked
from dtn_jax.shapes import Float, Int, Shaped

Value = float | int | None
T = TypeVar("T")


class Rows:
    """The rows of a task in a space, as its metrics read them; rows of weight 0 are gone.

    Attributes:
      scores: `[B]`, logits of a binary task, predictions of a regression in its label's unit.
      labels: `[B]`, bool of a binary task, float64 in the label's unit of a regression.
      weights: `[B]`, float64 > 0, or None where all rows count the same.
      group: `[B]`, the rows' groups (users, sessions), or None where the data have none.
      bins: of the expected calibration error.

    Raises:
      ValueError: shapes that differ, scores or weights that are not finite, labels of a binary
        task that are neither 0 nor 1, negative weights.
    """

    def __init__(
        self,
        kind: str,
        scores: Float[np.ndarray, " B"],
        labels: Shaped[np.ndarray, " B"],
        weights: Float[np.ndarray, " B"] | None = None,
        group: Int[np.ndarray, " B"] | None = None,
        bins: int = 15,
    ):
        self.kind, self.group, self.bins = kind, group, bins
        self.scores, self.labels, self.weights = checked(scores, labels, weights, kind == "binary")
        if group is not None and len(self.scores) < len(group):
            self.group = group[weights > 0]
        self._computed: dict[Hashable, object] = {}

    @property
    def counts(self) -> Float[np.ndarray, " B"]:
        """The weights; ones where all rows count the same."""
        return np.ones(len(self.scores)) if self.weights is None else self.weights

    def once(self, compute: Callable[[Rows], T]) -> T:
        """`compute(self)`, computed once: for what several metrics share."""
        if compute not in self._computed:
            self._computed[compute] = compute(self)
        return self._computed[compute]


RANKS = {"higher_is_better": True, "selectable": True, "bounded": True}  # of a metric in [0, 1]
LOSS = {"higher_is_better": False, "selectable": True}


@dataclasses.dataclass(frozen=True)
class Metric:
    """What every reader of a metric needs to know of it.

    Attributes:
      name: its key in results.json and metrics.jsonl.
      title: what tables and pictures call it.
      compute: its value on the rows of a task in a space; None, never NaN, where it is not
        defined (the AUC of one class).
      format: how its values are written: a format specification, or "%" for three digits of a
        percentage.
      kinds: the kinds of tasks that have it.
      higher_is_better: None where neither is better, as for a count.
      target: the value that is the best, where nearer to it is better; else None.
      selectable: whether `train.select` may name it; the learning curves show those that it may.
      column: its heading in the terminal's tables, in lines of at most 6 letters; "" keeps it
        out of them.
      short: what narrow tables call it, in about 8 letters; "" for the title.
      bounded: whether it is in [0, 1], so that no difference is larger than 1.
      of_groups: only data sets with groups have it.
      influence: its value and what each unit of the rows adds to it (influence.py), by which
        comparisons tell models apart; None of a metric that they leave out.
    """

    name: str
    title: str
    compute: Callable[[Rows], Value]
    format: str = ".4f"
    kinds: tuple[str, ...] = ("binary",)
    higher_is_better: bool | None = None
    target: float | None = None
    selectable: bool = False
    column: str = ""
    short: str = ""
    bounded: bool = False
    of_groups: bool = False
    influence: Callable[[Rows, Units], Influence] | None = None

    def __post_init__(self):
        if self.selectable and self.higher_is_better is None:
            raise ValueError(f"metric {self.name!r} is selectable: say whether higher is better")

    def fits(self, kind: str, grouped: bool) -> bool:
        """Whether a task of this kind has it, in a data set with groups or without."""
        return kind in self.kinds and (grouped or not self.of_groups)

    def text(self, value: Value) -> str:
        """A value as tables write it; "n/d": not defined."""
        if value is None:
            return "n/d"
        if self.format == "%":  # three digits, whatever the rate
            return f"{100 * value:#.3g}%" if value >= 1e-4 else f"{100 * value:.1g}%"
        return format(value, self.format)

    @property
    def judges(self) -> bool:
        """Whether it says of two values which is the better one."""
        return self.higher_is_better is not None or self.target is not None

    def best(self, values: Iterable[float]) -> float | None:
        """The best of values, of a metric that judges; None of none."""
        if self.target is not None:
            return min(values, key=lambda value: abs(value - self.target), default=None)
        return (max if self.higher_is_better else min)(values, default=None)

    def better(self, value: Value, best: Value) -> bool:
        """Whether a value beats the best so far; any that is defined beats None."""
        if value is None or best is None:
            return value is not None
        return value > best if self.higher_is_better else value < best
