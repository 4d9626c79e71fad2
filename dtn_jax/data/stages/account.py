"""The account of bad rows: how many there are of each reason, and the first of them in full."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl

from dtn_jax.data.raw.types import Reject

KEPT = 1000  # rows of each reason that are kept in full, of a unit and of a log


@dataclasses.dataclass
class Account:
    """Counted chunk by chunk, in the order of the rows.

    Attributes:
      rows: how many rows were read, bad ones included.
      counts: {reason: rows}.
      kept: the first KEPT rows of each reason, each with the address of its file.
    """

    rows: int = 0
    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    kept: list[tuple[str, Reject]] = dataclasses.field(default_factory=list)

    @property
    def rejected(self) -> int:
        return sum(self.counts.values())

    def broken(self, file: str, rejects: Sequence[Reject]) -> None:
        """Counts rows that could not be read at all."""
        counts = Counter(reject.reason for reject in rejects)
        self.include(Account(len(rejects), counts, [(file, reject) for reject in rejects]))

    def add(
        self,
        file: str,
        numbers: np.ndarray,
        reason: str,
        column: str = "",
        values: pl.Series | None = None,
    ) -> None:
        """Counts rows by the number that each has in its file; `values` are the offending ones."""
        room = max(KEPT - self.counts[reason], 0)
        for at, number in enumerate(numbers[:room].tolist()):
            value = "" if values is None else repr(values[at : at + 1].to_list()[0])
            self.kept.append((file, Reject(number, reason, column, value)))
        self.counts[reason] += len(numbers)

    def include(self, later: Account) -> None:
        """Adds the account of rows that follow those counted so far."""
        self.rows += later.rows
        kept = Counter(reject.reason for _, reject in self.kept)
        for file, reject in later.kept:
            if kept[reject.reason] < KEPT:
                self.kept.append((file, reject))
                kept[reject.reason] += 1
        self.counts.update(later.counts)

    def lines(self) -> str:
        """One JSON object a line for each row kept: file, row, reason, column, value."""
        return "".join(
            json.dumps({"file": file} | dataclasses.asdict(reject), ensure_ascii=False) + "\n"
            for file, reject in self.kept
        )

    def summary(self, shown: int = 3) -> list[str]:
        """A line of text for each reason, the most frequent first, with the first rows of it."""
        lines = []
        for reason, count in self.counts.most_common():
            examples = [_example(*kept) for kept in self.kept if kept[1].reason == reason][:shown]
            what = f"{count:,} of {self.rows:,} rows rejected: {reason}"
            lines.append(f"{what}: {'; '.join(examples)}")
        return lines

    def exceeds(self, most: float) -> bool:
        """Whether more than this share of the rows is bad."""
        return self.rejected > most * self.rows * (1 + 1e-12)  # the product's rounding decides not

    def to_json(self) -> dict:
        kept = [[file, dataclasses.astuple(reject)] for file, reject in self.kept]
        return {"rows": self.rows, "counts": self.counts, "kept": kept}

    @classmethod
    def from_json(cls, facts: dict) -> Account:
        kept = [(file, Reject(*values)) for file, values in facts["kept"]]
        return cls(facts["rows"], Counter(facts["counts"]), kept)


def _example(file: str, reject: Reject) -> str:
    what = f", column {reject.column!r}" if reject.column else ""
    value = f": {reject.value}" if reject.value else ""
    return f"{file}, row {reject.row:,}{what}{value}"
