"""Rows of any number of values each, as flat arrays."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from dtn_jax.shapes import Bool, Float32, Int, Int32, Shaped


@dataclasses.dataclass
class Ragged:
    """n rows that hold N values together, one row's after another's.

    Attributes:
      lengths: `[n]`, how many values each row holds.
      ids: int32 `[N]`, the values.
      weights: float32 `[N]`, a weight for each.
    """

    lengths: np.ndarray
    ids: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """Where each row's values begin, int64 `[n]`."""
        return np.cumsum(self.lengths, dtype=np.int64) - self.lengths

    @classmethod
    def empty(cls, rows: int) -> Ragged:
        return cls(np.zeros(rows, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))

    @classmethod
    def join(cls, parts: Sequence[Ragged]) -> Ragged:
        """The rows of all parts, one part's after another's."""
        names = [f.name for f in dataclasses.fields(cls)]
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))

    def take(self, rows: Int[np.ndarray, " m"] | Bool[np.ndarray, " n"]) -> Ragged:
        """Rows by number, or those of a mask."""
        if not len(self.ids):
            return Ragged.empty(len(self.lengths[rows]))
        lengths = self.lengths[rows]
        return self._at(places(self.starts[rows], lengths), lengths)

    def head(self, most: int) -> Ragged:
        """The first values of each row, `most` at most."""
        if not len(self.ids) or self.lengths.max() <= most:
            return self
        lengths = np.minimum(self.lengths, most)
        return self._at(places(self.starts, lengths), lengths)

    def _at(self, at: np.ndarray, lengths: np.ndarray) -> Ragged:
        return Ragged(lengths, self.ids[at], self.weights[at])

    def followed_by(self, other: Ragged) -> Ragged:
        """Each row's values, and then those of the same row of `other`."""
        rows = np.arange(len(self))
        owner = np.concatenate([np.repeat(rows, self.lengths), np.repeat(rows, other.lengths)])
        order = np.argsort(owner, kind="stable")
        return Ragged(
            self.lengths + other.lengths,
            np.concatenate([self.ids, other.ids])[order],
            np.concatenate([self.weights, other.weights])[order],
        )

    def padded(
        self, slots: int, weighted: bool
    ) -> tuple[Int32[np.ndarray, "n S"], Float32[np.ndarray, "n S"] | None]:
        """The first S = `slots` values of each row, -1 where there are fewer; and their weights,
        0 there, or None unless `weighted`."""
        weights = pad(self.weights, self.lengths, slots, 0) if weighted else None
        return pad(self.ids, self.lengths, slots, -1), weights


def places(starts: Int[np.ndarray, " n"], lengths: Int[np.ndarray, " n"]) -> Int[np.ndarray, " N"]:
    """starts[0], starts[0] + 1, ..., `lengths[0]` of them, then those of the next row."""
    before = lengths.cumsum() - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum())


def pad(
    values: Shaped[np.ndarray, " N"], lengths: Int[np.ndarray, " n"], slots: int, fill: int
) -> Shaped[np.ndarray, "n S"]:
    """The first S = `slots` values of each row, `fill` where there are fewer."""
    padded = np.full((len(lengths), slots), fill, values.dtype)
    if not len(values):
        return padded
    if slots == 1:
        some = lengths > 0
        padded[some, 0] = values[(lengths.cumsum() - lengths)[some]]
        return padded
    kept = np.minimum(lengths, slots)
    if kept.sum() < len(values):
        values = values[places(lengths.cumsum() - lengths, kept)]
    padded[np.arange(slots) < kept[:, None]] = values
    return padded
