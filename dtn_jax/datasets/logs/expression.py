"""Small expressions over a log's columns, such as `watch_seconds > 30`, parsed here."""

from __future__ import annotations

import dataclasses

import polars as pl


@dataclasses.dataclass(frozen=True)
class Expression:
    """A parsed expression.

    Attributes:
      text: as it was written.
      columns: the columns that it reads.
    """

    text: str
    columns: tuple[str, ...]

    def over(self, frame: pl.DataFrame) -> pl.Series:
        """Its value in each row; null where it depends on a missing value."""
        raise NotImplementedError
