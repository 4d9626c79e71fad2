"""Encodes a column whose rows are lists of K numbers, such as a content embedding."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import numpy as np
import polars as pl

from dtn_jax.shapes import Float32, Float64, Int32

ROWS = 4096  # rows handled at a time: 25 MB in float64, with K = 768
CONSTANT = 1e-10  # of the mean square: a smaller variance may be rounding


class Sums(NamedTuple):
    """Sums over the known vectors of some rows; those of others add to them.

    Attributes:
      count: of the vectors.
      total, squares: sums by component of x and of x².
    """

    count: int
    total: Float64[np.ndarray, " K"]
    squares: Float64[np.ndarray, " K"]

    def plus(self, other: Sums) -> Sums:
        """Sums over both. The last bits depend on the order in which more than two are added."""
        return Sums(*(one + more for one, more in zip(self, other)))


@dataclasses.dataclass(frozen=True)
class Vector:
    """(x − mean) / standard deviation, by component; a missing vector has the unknown id.

    A component of which train has one value alone keeps its size: its deviation counts as 1.

    Attributes:
      length: K.
      standardise: False leaves the numbers as they are.
      mean, deviation: fitted, K numbers each.
    """

    kind: ClassVar[str] = "vector"
    rows: ClassVar[int] = 2
    length: int
    standardise: bool = True
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None

    @property
    def numbers(self) -> int:
        """Numbers of a row: K."""
        return self.length

    def fit(self, sums: Sums) -> Vector:
        """The fitted encoder, from the sums over train's known vectors."""
        count = max(sums.count, 1)
        mean, square = sums.total / count, sums.squares / count
        variance = square - mean**2
        constant = variance <= CONSTANT * square
        deviation = np.where(constant, 1, np.sqrt(np.where(constant, 1, variance)))
        return dataclasses.replace(
            self, mean=tuple(mean.tolist()), deviation=tuple(deviation.tolist())
        )

    def sums(self, column: pl.Series) -> Sums:
        """What `fit` needs of some rows."""
        found = Sums(0, np.zeros(self.length), np.zeros(self.length))
        for _, x in self._pieces(column):
            found = found.plus(Sums(len(x), x.sum(axis=0), np.square(x).sum(axis=0)))
        return found

    def encode(self, column: pl.Series) -> Int32[np.ndarray, " B"]:
        """Returns 1 for known vectors and 0 for missing ones."""
        return column.is_not_null().to_numpy().astype(np.int32)

    def values(self, column: pl.Series) -> Float32[np.ndarray, "B K"]:
        """Returns the numbers, standardised if asked; 0 where the vector is missing."""
        found = np.zeros((len(column), self.length), np.float32)
        for places, x in self._pieces(column):
            scaled = (x - self.mean) / self.deviation if self.standardise else x
            found[places] = scaled
        return found

    def _pieces(self, column: pl.Series) -> Iterator[tuple[np.ndarray, Float64[np.ndarray, "N K"]]]:
        """The known vectors and their places, some rows at a time."""
        known = np.flatnonzero(column.is_not_null().to_numpy())
        for start in range(0, len(known), ROWS):
            places = known[start : start + ROWS]
            lists = column.gather(places).cast(pl.List(pl.Float64))
            yield places, lists.explode().to_numpy().reshape(len(places), self.length)
