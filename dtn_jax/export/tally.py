"""What is counted of rows that are scored: the bad ones, and values that training has not seen."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.data.stages.account import Account
from dtn_jax.errors import UserError
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

    def warning(self, most: float) -> str:
        """What to say early, while rows may follow, where more than this share is bad; else ''."""
        account = self.account
        if not account.exceeds(most):
            return ""
        return (
            f"warning: {account.rejected:,} of the first {account.rows:,} rows have no scores, "
            f"more than --max_bad_rate={most:g} allows; if it stays so, no output is written. "
            f"{self.reasons()[0]}"
        )

    def check(self, most: float, kept: pathlib.Path) -> None:
        """Raises UserError where more than this share of the rows is bad; `kept` has the scores."""
        account = self.account
        if account.exceeds(most):
            lines = [
                f"{account.rejected:,} of {account.rows:,} rows have no scores, more than "
                f"--max_bad_rate={most:g} allows:",
                *(f"  {line}" for line in self.reasons()),
                f"No output is written; what is scored stays in {kept}, and the same command with "
                "a higher --max_bad_rate writes it",
            ]
            raise UserError("\n".join(lines))

    def reasons(self) -> list[str]:
        """Why rows have no scores, as `Account.summary` tells it."""
        lines = self.account.summary()
        return [line.replace("rows rejected", "rows have no scores", 1) for line in lines]

    def to_json(self) -> dict:
        return {"account": self.account.to_json(), "values": self.values}

    @classmethod
    def from_json(cls, facts: dict) -> Tally:
        values = {name: (int(own), int(lost)) for name, (own, lost) in facts["values"].items()}
        return cls(Account.from_json(facts["account"]), values)


def check_rate(most: float) -> None:
    """Raises UserError unless it is a share."""
    if not 0 <= most <= 1:
        raise UserError(f"--max_bad_rate={most:g}: expected a share, from 0 to 1")


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
    found = dict(first)
    for name, (own, lost) in second.items():
        before = found.get(name, (0, 0))
        found[name] = before[0] + own, before[1] + lost
    return found
