"""A row of the raw files that cannot be used, and why."""

from __future__ import annotations

import dataclasses

LONGEST = 80  # characters of a value that are kept


@dataclasses.dataclass(frozen=True)
class Reject:
    """A row that is counted and shown, never silently dropped.

    Attributes:
      row: its number in its file: the line in a text file, otherwise counted from 1.
      reason: the same text for all rows of this kind, so that they can be counted by it.
      column: whose value is wrong; '' where it is the row.
      value: what was found; of more than LONGEST characters, the first ones and '…'.
    """

    row: int
    reason: str
    column: str = ""
    value: str = ""

    def __post_init__(self):
        if len(self.value) > LONGEST:
            object.__setattr__(self, "value", f"{self.value[: LONGEST - 1]}…")
