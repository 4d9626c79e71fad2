"""What is guessed of a log, before it is written down."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from dtn_jax.datasets.logs.schema.spec import InputSpec
from dtn_jax.shapes import Float64


@dataclasses.dataclass
class FieldDraft:
    """A field, or a column that is none.

    Attributes:
      name: of the field, and of its column unless the options say another.
      options: {key: value}, the values ready for YAML.
      facts: what the sample shows of it, in a line.
      reason: why it is left out; '' where it is not.
      suspect: whether the reason is one to look at: a leak, not a matter of course.
      notes: what to know more, each in a line.
    """

    name: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    facts: str = ""
    reason: str = ""
    suspect: bool = False
    notes: list[str] = dataclasses.field(default_factory=list)

    def leave_out(self, reason: str, suspect: bool = False) -> None:
        """Leaves it out; the first reason stands."""
        if not self.reason:
            self.reason, self.suspect = reason, suspect


@dataclasses.dataclass
class TaskDraft:
    """A task.

    Attributes:
      name: of the task.
      column: of its label.
      values: the label in each row of the sample, NaN where it is not known.
      options: {key: value}, the values ready for YAML.
      facts: what the sample shows of it.
      guessed: by the column's name; else it was asked for.
      notes: what to know more.
    """

    name: str
    column: str
    values: Float64[np.ndarray, " R"]
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    facts: str = ""
    guessed: bool = True
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def binary(self) -> bool:
        return self.options.get("kind") != "regression"

    @property
    def positives(self) -> int:
        """Rows with the label 1, or of a regression above 0."""
        return int((self.values > 0).sum())


@dataclasses.dataclass
class Role:
    """The time column or the group.

    Attributes:
      column: its name; '' without one.
      guessed: by name; else it was asked for.
      facts: what the sample shows of it.
      unit: of the time, where the column's type does not say it.
    """

    column: str = ""
    guessed: bool = True
    facts: str = ""
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
