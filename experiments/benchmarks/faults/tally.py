"""How faults ended, counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

OUTCOMES = ("survived", "named", "lost", "wrong")
EXAMPLES = 3  # of what was lost or wrong, that are told


@dataclasses.dataclass
class Tally:
    """Of one kind of fault in one command or kind of file.

    Every fault that was injected ends as one of these:

    Attributes:
      survived: the numbers are those of an undisturbed call.
      named: an error says what is wrong, where, and what to do; nothing is lost by it.
      lost: a traceback, a hang, or work that cannot be gone on with.
      wrong: other numbers, without a word.
    """

    fault: str
    where: str
    survived: int = 0
    named: int = 0
    lost: int = 0
    wrong: int = 0
    skipped: str = ""
    examples: list[str] = dataclasses.field(default_factory=list)

    @property
    def injected(self) -> int:
        return sum(getattr(self, outcome) for outcome in OUTCOMES)

    def count(self, outcome: str, example: str = "") -> None:
        setattr(self, outcome, getattr(self, outcome) + 1)
        if outcome in ("lost", "wrong") and len(self.examples) < EXAMPLES:
            self.examples.append(f"{self.fault}, {self.where}: {outcome}: {example[-600:]}")

    def row(self) -> Mapping[str, str | int]:
        counts = {outcome: getattr(self, outcome) for outcome in OUTCOMES}
        where = f"{self.where} (skipped: {self.skipped})" if self.skipped else self.where
        return {"fault": self.fault, "where": where, "injected": self.injected, **counts}
