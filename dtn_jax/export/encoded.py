"""Rows as the program takes them, and which of them could not be read."""

from __future__ import annotations

import dataclasses

import numpy as np

from dtn_jax.datasets.logs.raw.rejects import Reject
from dtn_jax.datasets.logs.rows.account import Account
from dtn_jax.datasets.shapes import Bool, Float32, Int32


@dataclasses.dataclass
class Encoded:
    """B rows, bad ones included; a bad row's numbers are those of a row that holds nothing.

    Attributes:
      ids: int32 `[B, L]`, as in `interface.Batch`: -1 pads, 0 is the unknown id.
      weights: float32 `[B, W]`, of the weighted bags.
      numeric: float32 `[B, N]`, of standardised numbers and vectors.
      good: bool `[B]`; False where a row is not as the model's fields are.
      account: how many rows are bad for which reason, and the first of each in full.
    """

    ids: Int32[np.ndarray, "B L"]
    weights: Float32[np.ndarray, "B W"]
    numeric: Float32[np.ndarray, "B N"]
    good: Bool[np.ndarray, " B"]
    account: Account

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def bad(self) -> list[Reject]:
        """The bad rows, with number, reason, column and value: of each reason the first 1,000."""
        return [reject for _, reject in self.account.kept]


class Bad:
    """Collects the bad rows of a table, each with the first reason that is found for it."""

    def __init__(self, numbers: np.ndarray, file: str = ""):
        self.numbers, self.file = numbers, file
        self.good = np.ones(len(numbers), bool)
        self.account = Account(rows=len(numbers))

    def __call__(self, good, reason: str, column) -> None:
        """Rejects the rows where `good` is False; `column` has the values to show."""
        good = np.asarray(good, bool)
        bad = self.good & ~good
        if bad.any():
            offending = column.filter(bad)
            self.account.add(self.file, self.numbers[bad], reason, column.name, offending)
            self.good &= good


def scattered(rows: np.ndarray, good: np.ndarray, fill: float) -> np.ndarray:
    """Rows of the good ones alone, each in its place among all; `fill` in the others."""
    if good.all():
        return rows
    found = np.full((len(good), *rows.shape[1:]), fill, rows.dtype)
    found[good] = rows
    return found
