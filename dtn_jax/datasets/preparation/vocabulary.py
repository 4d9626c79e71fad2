"""Encodes texts and whole numbers as rows: by a fitted vocabulary, or by a hash.

Row 0 is the unknown id: missing values, values listed as unknown, and values not seen often enough
in train.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import polars as pl

from dtn_jax.shapes import Int32, Integer

NUMBERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
SPARSE = 8  # a table from numbers to rows may have so many entries for each of its values


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Values seen at least `min_count` times in train get rows 1, 2, ..., most frequent first."""

    kind: ClassVar[str] = "vocabulary"
    min_count: int = 1
    unknown: tuple[str, ...] = ()
    values: tuple[str, ...] | None = None

    @property
    def rows(self) -> int:
        """Rows of the table, with that of the unknown id."""
        return 1 + len(self.values)

    def fit(self, counts: pl.DataFrame) -> Vocabulary:
        """The fitted encoder, from train's columns `value` and `count`."""
        counts = counts.with_columns(pl.col("value").cast(pl.String)).filter(
            pl.col("value").is_not_null()
            & ~pl.col("value").is_in(list(self.unknown))
            & (pl.col("count") >= self.min_count)
        )
        counts = counts.sort(["count", "value"], descending=[True, False])
        return dataclasses.replace(self, values=tuple(counts["value"].to_list()))

    def encode(self, column: pl.Series) -> np.ndarray:
        """Returns the row of each value, int32 `[B]`."""
        if column.dtype in NUMBERS and not column.null_count():
            return self.rows_of(column.to_numpy())
        return look_up(column.cast(pl.String), self.values, range(1, self.rows))

    def rows_of(self, numbers: Integer[np.ndarray, " B"]) -> Int32[np.ndarray, " B"]:
        """The row of each whole number: that of its text, found without making the text."""
        known, rows, low, table = self._numbers
        if table is not None:
            at = numbers.astype(np.int64) - low
            inside = (at >= 0) & (at < len(table))
            if inside.all():
                return table[at]
            return np.where(inside, table[np.where(inside, at, 0)], 0)
        if not len(known):
            return np.zeros(len(numbers), np.int32)
        at = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
        return np.where(known[at] == numbers, rows[at], 0)

    @functools.cached_property
    def _numbers(self) -> tuple[np.ndarray, np.ndarray, int, np.ndarray | None]:
        """The values that are whole numbers, sorted; their rows; the lowest, and the row of each
        number from it on, where they lie close together."""
        texts = pl.Series(self.values, dtype=pl.String)
        numbers = texts.cast(pl.Int64, strict=False)
        whole = (numbers.cast(pl.String) == texts).fill_null(False).to_numpy()  # not 007
        known = numbers.to_numpy()[whole].astype(np.int64)
        order = np.argsort(known)
        known, rows = known[order], (1 + np.flatnonzero(whole)[order]).astype(np.int32)
        if not len(known) or int(known[-1]) - int(known[0]) >= SPARSE * (len(known) + 8192):
            return known, rows, 0, None
        table = np.zeros(known[-1] - known[0] + 1, np.int32)
        table[known - known[0]] = rows
        return known, rows, int(known[0]), table


class Counter:
    """How often each value occurs, as text, in memory bounded by the number of values."""

    LEAST = 100_000  # values that are merged at once, or as many as there are already

    def __init__(self):
        self._merged: pl.DataFrame | None = None
        self._later: list[pl.DataFrame] = []

    def add(self, values: pl.Series, times: pl.Series | None = None) -> None:
        """Counts values, each `times` or once."""
        if times is None:
            chunk = values.rename("value").value_counts(name="count")
        else:
            chunk = pl.DataFrame({"value": values, "count": times})
            chunk = chunk.group_by("value").agg(pl.col("count").sum())
        # Chunks of one column may differ in type: all null, or integers here, texts there.
        self._later.append(chunk.cast({"value": pl.String, "count": pl.Int64}))
        waiting = sum(map(len, self._later))
        if waiting >= max(self.LEAST, len(self._merged) if self._merged is not None else 0):
            self._merge()

    def _merge(self) -> None:
        before = [] if self._merged is None else [self._merged]
        every = pl.concat([*before, *self._later])
        self._merged, self._later = every.group_by("value").agg(pl.col("count").sum()), []

    def counts(self) -> pl.DataFrame:
        """Columns `value` and `count`."""
        if self._later:
            self._merge()
        if self._merged is None:
            return pl.DataFrame(schema={"value": pl.String, "count": pl.Int64})
        return self._merged


def look_up(texts: pl.Series, values: Sequence[str], rows: Sequence[int]) -> np.ndarray:
    """The row of each text, 0 where it is null or not among `values`: int32 `[B]`."""
    table = {"value": pl.Series(values, dtype=pl.String), "row": pl.Series(rows, dtype=pl.Int32)}
    joined = pl.DataFrame({"value": texts}).join(
        pl.DataFrame(table), on="value", how="left", maintain_order="left"
    )
    return joined["row"].fill_null(0).to_numpy().astype(np.int32)
