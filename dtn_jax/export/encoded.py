"""Rows as the program takes them, and which of them could not be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import polars as pl

from dtn_jax.data.raw.types import Reject
from dtn_jax.data.stages.account import Account
from dtn_jax.shapes import Bool, Float32, Int32, Int64

NOT_FINITE = "score that is not finite"


class Bad:
    """Collects the bad rows of a table, each with the first reason that is found for it.

    Attributes:
      numbers: `[B]`, each row's number in `file`, for messages.
      good: bool `[B]`, of rows that nothing has rejected.
      account: how many rows are bad for which reason, and the first 1,000 of each in full.
    """

    def __init__(self, numbers: Int64[np.ndarray, " B"], file: str = ""):
        self.numbers, self.file = numbers, file
        self.good = np.ones(len(numbers), bool)
        self.account = Account(rows=len(numbers))

    def __call__(
        self, good: pl.Series | np.ndarray, reason: str, column: pl.Series | None = None
    ) -> None:
        """Rejects the rows where `good` is False; `column` has the values to show."""
        good = good.to_numpy() if isinstance(good, pl.Series) else good
        bad = self.good & ~good
        if bad.any():
            name, offending = "", None
            if column is not None:
                name, offending = column.name, column.filter(pl.Series(bad))
            self.account.add(self.file, self.numbers[bad], reason, name, offending)
            self.good &= good

    def broken(self, rejects: Sequence[Reject]) -> None:
        """Rejects the rows that could not be read at all."""
        if rejects:
            self.account.broken(self.file, rejects)
            self.account.rows = len(self.numbers)  # they are among them
            self.good &= ~np.isin(self.numbers, [reject.row for reject in rejects])

    def include(self, account: Account, good: Bool[np.ndarray, " B"]) -> None:
        """Rejects the rows where `good` is False; `account` has the reasons of those that were
        good until now."""
        self.account.include(account)
        self.account.rows = len(self.numbers)  # they are among them
        self.good &= good


@dataclasses.dataclass
class Encoded:
    """B rows, bad ones included; a bad row's numbers are those of a row that holds nothing.

    Attributes:
      ids: int32 `[B, L]`, as in `interface.Batch`: -1 pads, 0 is the unknown id.
      weights: float32 `[B, W]`, of the weighted bags.
      numeric: float32 `[B, N]`, of standardised numbers and vectors.
      rejected: the bad rows.
    """

    ids: Int32[np.ndarray, "B L"]
    weights: Float32[np.ndarray, "B W"]
    numeric: Float32[np.ndarray, "B N"]
    rejected: Bad

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def good(self) -> Bool[np.ndarray, " B"]:
        return self.rejected.good

    @property
    def account(self) -> Account:
        """How many rows are bad for which reason."""
        return self.rejected.account

    @property
    def bad(self) -> list[Reject]:
        """The bad rows, with number, reason, column and value: of each reason the first 1,000."""
        return [reject for _, reject in self.account.kept]


def scattered(rows: np.ndarray, good: Bool[np.ndarray, " B"]) -> np.ndarray:
    """Rows of the good ones alone, each in its place among all; zeros in the others."""
    if good.all():
        return rows
    found = np.zeros((len(good), *rows.shape[1:]), rows.dtype)
    found[good] = rows
    return found
