"""The kind of a column of single values, by its type, its values and its name."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl

from dtn_jax.datasets.logs.infer import names
from dtn_jax.datasets.logs.infer.columns import Column
from dtn_jax.datasets.logs.infer.draft import FieldDraft
from dtn_jax.datasets.logs.infer.sample import FEW
from dtn_jax.datasets.logs.infer.words import percent, shown
from dtn_jax.datasets.logs.times import is_date
from dtn_jax.shapes import Float64

SMALL = 20  # different values: so few are categories, whatever the numbers mean
UNIQUE = 0.95  # different values by known ones
UNIQUE_ROWS = 200  # with fewer rows, nothing is called nearly unique
RARE = (10, 5, 2)  # the values of min_count that are tried
LOST = 0.1  # share of the rows whose values min_count may make unknown
PROSE = 4.0  # words of a text, on average: a category has fewer


def field(column: Column, whole: bool) -> FieldDraft:
    """The field of a column.

    Args:
      column: of single values.
      whole: whether the sample is the whole log.
    """
    if column.raw.dtype == pl.String and not is_numeric(column):
        column = dataclasses.replace(column, values=column.raw)  # '1.0' is another than '1'
    made = FieldDraft(column.name, facts=facts(column))
    if column.distinct == 0:
        made.leave_out("always missing")
    elif column.distinct == 1 and not column.missing:
        made.leave_out(f"constant: always {shown(column.different[0])}")
    elif column.values.dtype == pl.Duration:
        made.leave_out("spans of time cannot be read: write them as numbers of seconds")
    elif is_date(column.values.dtype):
        made.leave_out("times are no categories: those of test are never in train")
    elif is_numeric(column):
        _numeric(made, column)
    else:
        _categorical(made, column, whole)
    return made


def is_numeric(column: Column) -> bool:
    """Whether numbers are quantities, not names of things.

    Fractions are. Whole numbers with more than SMALL different values are where the name says so
    (price, count, *_ms), where there are negative and positive ones in a moderate range, and where
    a column of floats has no missing value: pandas makes floats of ids only where some are missing.
    """
    if not column.is_number or column.distinct <= 1:
        return False
    if not column.is_whole:
        return column.raw.dtype != pl.String or not names.is_id(
            column.name
        )  # version '1.1' is none
    if column.distinct <= SMALL or names.is_id(column.name):
        return False
    if names.is_quantity(column.name):
        return True
    least, most = column.values.min(), column.values.max()
    if least < 0 < most and max(-least, most) < 1e9:
        return True
    return column.raw.dtype.is_float() and not column.missing and not names.is_entity(column.name)


def _numeric(made: FieldDraft, column: Column) -> None:
    made.options["kind"] = "numeric"
    if column.infinite > FEW:
        made.leave_out(
            f"{percent(column.infinite)} of its numbers are infinite, and such rows are rejected: "
            "write missing values for them"
        )
    if is_skewed(column):
        made.options["log"] = "true"
    if column.is_whole:
        made.facts = f"a quantity, {made.facts}"


def is_skewed(column: Column) -> bool:
    """Whether numbers from 0 on are more even as logarithms."""
    x = column.numbers[np.isfinite(column.numbers)]
    if not len(x) or x.min() < 0 or x.max() == x.min():
        return False
    plain = skewness(x / x.max())  # of a scale on which nothing overflows
    return plain > 2 and abs(skewness(np.log1p(x))) < plain / 2


def skewness(x: Float64[np.ndarray, " K"]) -> float:
    centred = x - x.mean()
    return float((centred**3).mean() / max((centred**2).mean() ** 1.5, 1e-300))


def _categorical(made: FieldDraft, column: Column, whole: bool) -> None:
    if column.stray:
        made.notes.append(f"a number but for a few values, such as {shown(column.stray)}")
    if nearly_unique(column):
        told = f"{column.distinct:,} different values in {column.known:,} rows"
        if not whole and names.is_entity(column.name):
            made.notes.append(f"nearly unique in the sample: {told}")
        else:
            made.leave_out(f"nearly unique: {told}")
            return
    least = min_count(column)
    if least > 1:
        made.options["min_count"] = least
    if column.is_text:
        _text(made, column)


def _text(made: FieldDraft, column: Column) -> None:
    different = column.different
    texts = different.head(1000)
    words = texts.str.strip_chars().str.count_matches(r"\s+").mean() + 1
    first = texts.str.slice(0, 1)
    if (first.is_in(["[", "{"])).mean() > 0.9:
        made.notes.append("looks like JSON: as a list column (Parquet, JSON lines) it is a bag")
    else:
        for sign in "|;,":
            if (texts.str.count_matches(sign, literal=True) >= 1).mean() > 0.5 and words < PROSE:
                made.notes.append(
                    f"looks like lists, separated by {sign}: as a list column (Parquet, JSON "
                    "lines) it is a bag"
                )
                break
    if words >= PROSE and column.distinct > 0.5 * column.known and column.distinct > 100:
        made.leave_out(
            f"prose: {words:.0f} words a row, most rows different; a list column of its words is "
            "a bag, one of an embedding's numbers a vector"
        )


def nearly_unique(column: Column) -> bool:
    return column.known >= UNIQUE_ROWS and column.distinct > UNIQUE * column.known


def min_count(column: Column) -> int:
    """Where most values are rare, how often train must show one for a row of the table.

    The largest of RARE for which more than half of the different values come less often in the
    sample while at most LOST of the rows have them; 2 where more than half come only once; 1 where
    there are at most 100 values.
    """
    if column.distinct <= 100:
        return 1
    for least in RARE:
        rare = column.counts < least
        if rare.mean() > 0.5 and column.counts[rare].sum() <= LOST * column.known:
            return least
    return 2 if (column.counts < 2).mean() > 0.5 else 1


def facts(column: Column) -> str:
    """'4,998 different, most often 17, 4, 23; 3 % missing', or '0.37 to 1,322, median 20.1'."""
    missing = f"; {percent(column.missing)} missing" if column.missing else ""
    if not column.distinct:
        return "always missing"
    if is_numeric(column):
        known = column.values.cast(pl.Float64).drop_nulls()
        middle = known.median()
        return f"{shown(known.min())} to {shown(known.max())}, median {shown(middle)}{missing}"
    examples = ", ".join(shown(value) for value in column.common())
    most = f", most often {examples}" if column.distinct > 3 else f": {examples}"
    return f"{column.distinct:,} different{most}{missing}"
