"""A column of the sample: its values as what they are, and how many differ."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import polars as pl
import pyarrow.compute as pc

from dtn_jax.shapes import Float64, Int

FEW = 1e-5  # share of the rows in which a value may be bad: far below what prepare allows
MOST = 1_000_000  # values of a column's lists that are looked at one by one
NUMBER = r"^\s*-?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?\s*$"
WHOLE = r"^\s*-?\d{1,18}\s*$"
PADDED = r"^\s*-?0\d"  # 007 is no number
MISSING = ("\\N", "NULL", "null", "NaN", "nan", "NA", "N/A", "None", "none", "-")
KINDS = {pl.Boolean: "truth", pl.String: "text"}
TRUTHS = {"true": True, "false": False}


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """A column.

    Attributes:
      raw: as it was read.
      values: numbers and truths that stand as texts read as such; NaN is missing. Of lists, what is
        in them, one list's after another's; of many long ones, of every n-th list.
      kind: number, truth, text; '' of others.
      stray: where all but a few texts are numbers, one that is none; else ''.
      codes: the number of each value in `different`; -1 is missing.
      different: the values, each once, in the order in which they first appear.
      counts: the rows of each of these.
      lengths: of lists, the values of each; -1 is a missing list.
    """

    raw: pl.Series
    values: pl.Series
    kind: str
    stray: str
    codes: Int[np.ndarray, " R"]
    different: pl.Series
    counts: Int[np.ndarray, " V"]
    lengths: Int[np.ndarray, " R"] | None = None

    @property
    def name(self) -> str:
        return self.raw.name

    @property
    def is_list(self) -> bool:
        return self.lengths is not None

    @functools.cached_property
    def is_whole(self) -> bool:
        """Whole numbers, by their type or their values."""
        if not self.values.dtype.is_float():
            return self.kind == "number"
        known = self.different.drop_nulls()
        return bool((known == known.floor()).all()) and bool((known.abs() < 2.0**53).all())

    @property
    def infinite(self) -> float:
        """The share of numbers that are not finite."""
        if not self.values.dtype.is_float():
            return 0.0
        return self.values.is_infinite().sum() / max(len(self.values), 1)

    @property
    def is_finite(self) -> bool:
        """Whether all values are numbers, none missing or infinite."""
        return self.kind == "number" and 0 < len(self.values) == self.known and not self.infinite

    @property
    def known(self) -> int:
        return len(self.values) - self.values.null_count()

    @property
    def distinct(self) -> int:
        return len(self.different)

    @property
    def missing(self) -> float:
        """The share of missing values, or lists."""
        column = self.raw if self.is_list else self.values
        return column.null_count() / max(len(column), 1)

    @property
    def numbers(self) -> Float64[np.ndarray, " R"]:
        """Numbers, NaN where missing."""
        return self.values.cast(pl.Float64).fill_null(np.nan).to_numpy()

    def common(self, count: int = 3) -> list:
        """The most common values, the first of them first."""
        return [self.different[int(n)] for n in np.argsort(-self.counts, kind="stable")[:count]]

    @property
    def length(self) -> int:
        """The length of all lists, at least 2; 0 where they differ."""
        known = np.unique(self.lengths[self.lengths >= 0])
        return int(known[0]) if len(known) == 1 and known[0] > 1 else 0


def column(raw: pl.Series, as_is: bool = False) -> Column:
    """A column as it was read; `as_is`: texts are no numbers."""
    lengths = None
    values = raw
    if raw.dtype == pl.List:
        lengths = raw.list.len().cast(pl.Int64).fill_null(-1).to_numpy()
        filled = raw.filter(raw.list.len() > 0)
        values = filled.gather_every(-(-int(filled.list.len().sum()) // MOST) or 1).explode()
    if values.dtype.is_float():
        values = values.fill_nan(None)
    elif values.dtype.is_decimal():
        values = values.cast(pl.Float64)
    elif values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    stray = ""
    if values.dtype == pl.String and not as_is:
        values, stray = _read(values)
    physical = values.cast(pl.Int8) if values.dtype in (pl.Boolean, pl.Null) else values
    encoded = pc.dictionary_encode(physical.rechunk().to_arrow())
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    different = pl.from_arrow(encoded.dictionary)
    counts = np.bincount(codes[codes >= 0], minlength=len(different))
    kind = KINDS.get(values.dtype, "number" if values.dtype.is_numeric() else "")
    return Column(raw, values, kind, stray, codes, different, counts, lengths)


def _read(texts: pl.Series) -> tuple[pl.Series, str]:
    """Texts as the numbers or truths that they are; and one that is none among many."""
    known = texts.drop_nulls()
    number = known.str.contains(NUMBER) & ~known.str.contains(PADDED)
    bad = len(known) - int(number.sum())
    if len(known) and bad <= FEW * len(known):
        kind = pl.Int64 if bad == 0 and known.str.contains(WHOLE).all() else pl.Float64
        return texts.str.strip_chars().cast(kind, strict=False), ""
    if len(known) and known.str.to_lowercase().is_in(list(TRUTHS)).all():
        return texts.str.to_lowercase().replace_strict(TRUTHS, return_dtype=pl.Boolean), ""
    return texts, known.filter(~number)[0] if 0 < bad <= 0.01 * len(known) else ""


def missing_words(frame: pl.DataFrame) -> list[str]:
    """Texts of a CSV file that stand for a missing value: those among numbers, `\\N` and NULL."""
    found = set()
    for raw in frame.select(pl.col(pl.String)):
        known = raw.drop_nulls().unique()
        words = set(known.filter(known.is_in(list(MISSING))))
        others = known.filter(~known.is_in(list(MISSING)))
        numbers = len(others) and others.str.contains(NUMBER).all()
        found |= words if numbers else words & {"\\N", "NULL"}
    return sorted(found)
