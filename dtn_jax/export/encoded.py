"""Rows as the program takes them, and which of them could not be read."""

from __future__ import annotations

import dataclasses

import numpy as np

from dtn_jax.data.clean import Bad
from dtn_jax.data.raw.types import Reject
from dtn_jax.data.stages.account import Account
from dtn_jax.shapes import Bool, Float32, Int32

__all__ = ["Bad"]  # beside what is defined here

NOT_FINITE = "score that is not finite"


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
