"""A column of the sample: its values as what they are, and how many differ."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import polars as pl
import pyarrow.compute as pc

from dtn_jax.datasets.logs.infer.sample import FEW
from dtn_jax.shapes import Bool, Float64, Int

NUMBER = r"^\s*-?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?\s*$"
WHOLE = r"^\s*-?\d{1,18}\s*$"
PADDED = r"^\s*-?0\d"  # 007 is no number
MISSING = ("\\N", "NULL", "null", "NaN", "nan", "NA", "N/A", "None", "none", "-")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of single values.

    Attributes:
      name: of the column.
      raw: as it was read.
      values: numbers and truths that stand as texts read as such; NaN is missing.
      stray: where all but a few texts are numbers, one that is none; else ''.
    """

    name: str
    raw: pl.Series
    values: pl.Series
    stray: str = ""

    @property
    def is_number(self) -> bool:
        return self.values.dtype.is_numeric()

    @property
    def is_truth(self) -> bool:
        return self.values.dtype == pl.Boolean

    @property
    def is_text(self) -> bool:
        return self.values.dtype == pl.String

    @functools.cached_property
    def is_whole(self) -> bool:
        """Whole numbers, by their type or their values."""
        if not self.is_number or self.values.dtype.is_integer():
            return self.is_number
        known = self.values.drop_nulls()
        return bool((known == known.floor()).all()) and bool((known.abs() < 2.0**53).all())

    @functools.cached_property
    def infinite(self) -> float:
        """The share of numbers that are not finite."""
        if not self.values.dtype.is_float() or not len(self.values):
            return 0.0
        return self.values.is_infinite().sum() / len(self.values)

    @property
    def known(self) -> int:
        return len(self.values) - self.values.null_count()

    @property
    def missing(self) -> float:
        """The share of missing values."""
        return self.values.null_count() / max(len(self.values), 1)

    @functools.cached_property
    def _encoded(self) -> tuple[Int[np.ndarray, " R"], pl.Series]:
        values = self.values
        if values.dtype in (pl.Boolean, pl.Null):
            values = values.cast(pl.Int8)
        made = pc.dictionary_encode(values.rechunk().to_arrow())
        codes = made.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return codes, pl.from_arrow(made.dictionary)

    @property
    def codes(self) -> Int[np.ndarray, " R"]:
        """The number of each value in the order in which values first appear; -1 is missing."""
        return self._encoded[0]

    @property
    def different(self) -> pl.Series:
        """The values, each once, in the order of `codes`."""
        return self._encoded[1]

    @property
    def distinct(self) -> int:
        return len(self.different)

    @functools.cached_property
    def texts(self) -> pl.Series:
        """`different` as texts."""
        spans = self.different.dtype == pl.Duration  # which polars does not write
        return (self.different.to_physical() if spans else self.different).cast(pl.String)

    @functools.cached_property
    def counts(self) -> Int[np.ndarray, " V"]:
        """The rows of each value of `different`."""
        return np.bincount(self.codes[self.codes >= 0], minlength=self.distinct)

    @property
    def numbers(self) -> Float64[np.ndarray, " R"]:
        """Numbers, NaN where missing."""
        return self.values.cast(pl.Float64).fill_null(np.nan).to_numpy()

    @property
    def there(self) -> Bool[np.ndarray, " R"]:
        return self.values.is_not_null().to_numpy()

    def common(self, count: int = 3) -> list:
        """The most common values, the first of them first."""
        most = np.argsort(-self.counts, kind="stable")[:count]
        return [self.different[int(n)] for n in most]


def column(raw: pl.Series) -> Column:
    """A column of single values as it was read."""
    name, values = raw.name, raw
    if values.dtype.is_float():
        return Column(name, raw, values.fill_nan(None))
    if values.dtype.is_decimal():
        return Column(name, raw, values.cast(pl.Float64))
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    if values.dtype != pl.String:
        return Column(name, raw, values)
    known = values.drop_nulls()
    if known.is_empty():
        return Column(name, raw, values)
    number = known.str.contains(NUMBER) & ~known.str.contains(PADDED)
    bad = len(known) - int(number.sum())
    if bad <= FEW * len(known):
        kind = pl.Int64 if bad == 0 and known.str.contains(WHOLE).all() else pl.Float64
        return Column(name, raw, values.str.strip_chars().cast(kind, strict=False))
    if bad <= 0.01 * len(known):
        return Column(name, raw, values, stray=known.filter(~number)[0])
    truths = {"true": True, "false": False}
    if known.str.to_lowercase().is_in(list(truths)).all():
        read = values.str.to_lowercase().replace_strict(truths, return_dtype=pl.Boolean)
        return Column(name, raw, read)
    return Column(name, raw, values)


def missing_words(frame: pl.DataFrame) -> list[str]:
    """Texts of a CSV file that stand for a missing value: those among numbers, `\\N` and NULL."""
    found = set()
    for raw in frame.select(pl.col(pl.String)):
        known = raw.drop_nulls().unique()
        words = set(known.filter(known.is_in(list(MISSING))).to_list())
        others = known.filter(~known.is_in(list(MISSING)))
        if words and len(others) and others.str.contains(NUMBER).all():
            found |= words
        found |= words & {"\\N", "NULL"}
    return sorted(found)


def without(frame: pl.DataFrame, words: list[str]) -> pl.DataFrame:
    """The frame with null in place of texts that stand for a missing value."""
    if not words:
        return frame
    text = pl.col(pl.String)
    return frame.with_columns(pl.when(~text.is_in(words)).then(text))
