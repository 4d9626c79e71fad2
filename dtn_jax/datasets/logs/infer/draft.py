"""What is guessed of a log, before it is written down."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from dtn_jax.datasets.logs.schema.spec import InputSpec
from dtn_jax.shapes import Float64


@dataclasses.dataclass
class Entry:
    """A column and what becomes of it.

    Attributes:
      name: of the field, the task or the column.
      options: {key: value}, the values ready for YAML.
      facts: what the sample shows of it, in a line.
      notes: what to know more, each in a line.
      guessed: by the column's name; else it was asked for.
    """

    name: str = ""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    facts: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)
    guessed: bool = False


@dataclasses.dataclass
class FieldDraft(Entry):
    """A field, or a column that is none.

    Attributes:
      reason: why it is left out; '' where it is not.
      suspect: whether the reason is one to look at: a leak, not a matter of course.
      offer: whether it is left out as one of several that may be made of a time.
    """

    reason: str = ""
    suspect: bool = False
    offer: bool = False

    @property
    def kept(self) -> bool:
        return not self.reason and not self.offer

    def leave_out(self, reason: str, suspect: bool = False) -> None:
        """Leaves it out; the first reason stands, unless a suspicion comes after it."""
        if not self.reason or (suspect and not self.suspect):
            self.reason, self.suspect = reason, suspect


@dataclasses.dataclass
class TaskDraft(Entry):
    """A task.

    Attributes:
      column: of its label.
      values: the label in each row of the sample, NaN where it is not known.
    """

    column: str = ""
    values: Float64[np.ndarray, " R"] | None = None

    @property
    def binary(self) -> bool:
        return self.options.get("kind") != "regression"

    @property
    def positives(self) -> int:
        """Rows with the label 1, or of a regression above 0."""
        return int((self.values > 0).sum())


@dataclasses.dataclass
class Role(Entry):
    """The time column or the group; '' is its name where there is none.

    Attributes:
      unit: of the time, where the column's type does not say it.
    """

    unit: str = ""


@dataclasses.dataclass
class Draft:
    """A schema file.

    Attributes:
      fields: in the order of the columns, those that are left out too.
      tasks: the labels.
      time, group: of the log.
      split: {key: value}, as it stands in the file.
      split_facts: why it is split so.
      input: how files are read.
      notes: what to know of the whole.
    """

    fields: list[FieldDraft]
    tasks: list[TaskDraft]
    time: Role
    group: Role
    split: dict[str, Any]
    split_facts: str
    input: InputSpec
    notes: list[str] = dataclasses.field(default_factory=list)
