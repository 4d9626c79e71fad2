"""Encodes a column whose rows hold several unordered values as padded rows of a table."""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import numpy as np
import polars as pl

from dtn_jax.datasets.preparation.ragged import pad
from dtn_jax.datasets.preparation.vocabulary import Vocabulary
from dtn_jax.shapes import Float32, Int, Int32


@dataclasses.dataclass(frozen=True)
class Bag:
    """Encodes a list column by a vocabulary, in as many slots as the longest bag of train needs.

    A bag keeps its first `max_values` values. A value that occurs less than `min_count` times among
    the kept values of train becomes the unknown id 0. A missing list is an empty bag.

    Attributes:
      pooling: of the schema's field.
      weights: the list column of the values' weights, as long as the values; '' without.
      slots: fitted; 0 before.
    """

    kind: ClassVar[str] = "bag"
    max_values: int = 50
    min_count: int = 1
    unknown: tuple[str, ...] = ()
    pooling: str = "sum"
    weights: str = ""
    slots: int = 0
    values: tuple[str, ...] | None = None

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the bags' values."""
        return Vocabulary(self.min_count, self.unknown, self.values)

    @property
    def rows(self) -> int:
        """Rows of the table, with that of the unknown id."""
        return self.vocabulary.rows

    def fit(self, counts: pl.DataFrame, longest: int) -> Bag:
        """From the counts of the values kept, and the most values that a bag of train has."""
        slots = max(1, min(longest, self.max_values))
        return dataclasses.replace(self, slots=slots, values=self.vocabulary.fit(counts).values)

    def kept(self, column: pl.Series) -> pl.Series:
        """The values of all bags, cut to `max_values`, in one flat column."""
        return flat(column.list.head(self.max_values))

    def encode(self, column: pl.Series) -> Int32[np.ndarray, "B S"]:
        """Returns the row of each value; -1 pads."""
        return pad(self.vocabulary.encode(flat(column)), lengths(column), self.slots, -1)

    def encode_weights(self, column: pl.Series) -> Float32[np.ndarray, "B S"]:
        """Returns the weights of the values that `encode` keeps; 0 pads."""
        values = flat(column).cast(pl.Float32).to_numpy()
        return pad(values, lengths(column), self.slots, 0)

    def cut(self, column: pl.Series) -> int:
        """How many values `encode` does not keep."""
        return int(np.maximum(lengths(column) - self.slots, 0).sum())


def lengths(column: pl.Series) -> Int[np.ndarray, " B"]:
    """How many values each list holds; a missing list holds none."""
    return column.list.len().fill_null(0).to_numpy().astype(np.int64)


def flat(column: pl.Series) -> pl.Series:
    """The values of all lists, one list's after another's."""
    return column.filter(column.list.len() > 0).explode()
