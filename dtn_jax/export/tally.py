"""What is counted of rows that are scored: the bad ones, and values that training has not seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dtn_jax.data.stages.account import Account
from dtn_jax.export.encoded import Encoded
from dtn_jax.schema import Field


@dataclasses.dataclass
class Tally:
    """Of rows in their order.

    Attributes:
      account: the rows, and those that have no scores, by reason.
      values: {field: (its values, those of them that are unknown)}, in the rows that are scored.
    """

    account: Account = dataclasses.field(default_factory=Account)
    values: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)

    def include(self, later: Tally) -> None:
        """Adds the tally of rows that follow."""
        self.account.include(later.account)
        self.values = added(self.values, later.values)

    @classmethod
    def joined(cls, parts: Iterable[Tally]) -> Tally:
        """Of rows and those that follow."""
        total = cls()
        for part in parts:
            total.include(part)
        return total

    def reasons(self) -> list[str]:
        """Why rows have no scores, as `Account.summary` tells it."""
        lines = self.account.summary()
        return [line.replace("rows rejected", "rows have no scores", 1) for line in lines]

    def to_json(self) -> dict:
        return {"account": self.account.to_json(), "values": self.values}

    @classmethod
    def from_json(cls, facts: dict) -> Tally:
        return cls(Account.from_json(facts["account"]), facts["values"])


def counted(fields: Sequence[Field], encoded: Encoded) -> dict[str, tuple[int, int]]:
    """{field: (ids, those of them that are the unknown one)}, in the good rows.

    A value that is missing has the unknown id too, a number's as well; padding counts as none.
    """
    ids = encoded.ids if encoded.good.all() else encoded.ids[encoded.good]
    there, unknown = np.count_nonzero(ids >= 0, axis=0), np.count_nonzero(ids == 0, axis=0)
    found, start = {}, 0
    for field in fields:
        part = slice(start, start + field.slots)
        start = part.stop
        found[field.name] = int(there[part].sum()), int(unknown[part].sum())
    return found


def added(
    first: Mapping[str, tuple[int, int]], second: Mapping[str, tuple[int, int]]
) -> dict[str, tuple[int, int]]:
    """The sums, by field."""
    none = (0, 0)
    both = {n: (first.get(n, none), second.get(n, none)) for n in (*first, *second)}
    return {name: (a[0] + b[0], a[1] + b[1]) for name, (a, b) in both.items()}
