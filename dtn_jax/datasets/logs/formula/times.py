"""Time columns in every form that logs have, as one whole number a row.

Real times become microseconds since 1970 in UTC; a time without a zone is taken as UTC. Plain
numbers, such as a row's place in the log, stay as they are. The units are those of
`spec.TIME_UNITS`:

    date       a date or date-time column, or texts in ISO 8601: 2026-03-05, 2026-03-05 12:30:00,
               2026-03-05T12:30:00.25Z, 2026-03-05T12:30+01:00
    s ms us ns since 1970, as numbers or their texts
    yyyymmdd   such as 20260305, as numbers or their texts
    number     whole numbers of any other meaning, or their texts
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from typing import Any

import polars as pl

from dtn_jax.errors import UserError

Type = Any  # a polars type; beartype cannot name polars' DataType

SECOND = 1_000_000
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
EARLIEST = -62_135_596_800 * SECOND  # 0001-01-01
LATEST = 253_402_300_800 * SECOND  # 10000-01-01, which is too late
LONG_AGO = 100_000_000  # seconds: 1973; smaller numbers are not taken for times
PER_UNIT = {"s": 1_000_000, "ms": 1000, "us": 1, "ns": 1e-3}  # microseconds
DAY = 86_400 * SECOND
SMALLEST = {unit: LONG_AGO * SECOND / factor for unit, factor in PER_UNIT.items()}
ISO = (
    r"^(?<day>\d{4}-\d{1,2}-\d{1,2})"
    r"(?:[T ](?<minute>\d{1,2}:\d{2})(?<second>:\d{2})?(?<fraction>\.\d{1,9})?"
    r" ?(?<zone>Z|[+-]\d{2}:?\d{2})?)?$"
)


def is_date(kind: Type) -> bool:
    return kind == pl.Date or kind == pl.Datetime


def is_text(kind: Type) -> bool:
    return kind in (pl.String, pl.Categorical, pl.Enum)


def unit_of(sample: pl.Series) -> str:
    """The unit of a time column, by its type and the size of its numbers.

    The middle number decides, so that a few zeros or broken values do not.

    Raises:
      UserError: a column of a type that holds no times.
    """
    kind = sample.dtype
    if is_date(kind):
        return "date"
    if is_text(kind):
        texts = sample.cast(pl.String).str.strip_chars().drop_nulls()
        numbers = texts.cast(pl.Float64, strict=False)
        if numbers.is_not_null().sum() * 2 <= len(texts):
            return "date"
        sample = numbers
    elif not kind.is_numeric() and kind != pl.Null:
        raise UserError(
            f"the time column {sample.name!r} holds {kind}; expected dates, times, numbers or texts"
        )
    values = sample.cast(pl.Float64, strict=False).drop_nulls()
    values = values.filter(values.is_finite())
    if values.is_empty():
        return "number"
    days = to_time(values, "yyyymmdd")
    if days.is_not_null().sum() * 2 > len(days):
        return "yyyymmdd"
    middle = values.quantile(0.5, "lower")
    fitting = [unit for unit, least in SMALLEST.items() if least <= middle < least * 1000]
    return fitting[0] if fitting else "number"


def to_time(column: pl.Series, unit: str) -> pl.Series:
    """Its times as int64, null where there is none or where it does not parse, as in lists.

    Args:
      column: the time column.
      unit: one of TIME_UNITS.

    Raises:
      UserError: a column whose type does not go with the unit.
    """
    name = column.name or "time"
    if column.dtype.is_nested():
        return pl.Series(name, [None] * len(column), dtype=pl.Int64)
    frame = column.alias(name).to_frame()
    return frame.select(as_time(pl.col(name), column.dtype, unit)).to_series()


def as_time(column: pl.Expr, kind: Type, unit: str) -> pl.Expr:
    """`to_time` of a column of the type `kind`."""
    if is_date(kind):
        if unit != "date":
            raise UserError(f"a column of {kind} has the time unit 'date', not {unit!r}")
        return column.cast(pl.Datetime("us")).to_physical()
    if is_text(kind):
        text = column.cast(pl.String).str.strip_chars()
        read = _iso if unit == "date" else functools.partial(_numbers, unit=unit)
        return text.map_batches(read, return_dtype=pl.Int64)
    if kind == pl.Null:
        return column.cast(pl.Int64)
    if unit == "date":
        raise UserError(f"a column of {kind} does not have the time unit 'date'")
    if kind.is_float() or kind.is_decimal():
        return _from_fraction(column.cast(pl.Float64), unit)
    return _from_whole(column.cast(pl.Int64, strict=False), unit)


def _from_whole(number: pl.Expr, unit: str) -> pl.Expr:
    """Of whole numbers."""
    if unit == "yyyymmdd":
        day = pl.when(number.is_between(1000_01_01, 9999_12_31)).then(number)
        date = day.cast(pl.String).str.to_date("%Y%m%d", strict=False)
        return date.cast(pl.Datetime("us")).to_physical()
    if unit == "number":
        return number
    if unit == "ns":
        return number // 1000
    factor = PER_UNIT[unit]
    return pl.when(number.is_between(EARLIEST // factor, LATEST // factor - 1)).then(
        number * int(factor)
    )


def _from_fraction(number: pl.Expr, unit: str) -> pl.Expr:
    """Of numbers that may have a fraction, which is kept to the microsecond."""
    if unit in ("yyyymmdd", "number"):
        whole = pl.when(number.abs() < 2.0**63).then(number)
        whole = pl.when(whole == whole.floor()).then(whole)
        return _from_whole(whole.cast(pl.Int64, strict=False), unit)
    number = (number * PER_UNIT[unit]).round()
    return (
        pl.when(number.is_between(EARLIEST, LATEST - 1)).then(number).cast(pl.Int64, strict=False)
    )


def _numbers(text: pl.Series, unit: str) -> pl.Series:
    """Of texts of numbers."""
    whole = text.cast(pl.Int64, strict=False)
    rest = text.is_not_null() & whole.is_null()

    def fractions() -> pl.Series:
        return to_time(text.filter(rest).cast(pl.Float64, strict=False), unit)

    return _filled(to_time(whole, unit), rest, fractions)


def _iso(text: pl.Series) -> pl.Series:
    """Of texts in ISO 8601: quickly of those that look like most do, with care of the rest."""
    first = text.drop_nulls().head(1).to_list() or [""]
    between = first[0][10:11] or "-"
    likely = f"%Y-%m-%d{between}%H:%M:%S" if between in ("T", " ") else "%Y-%m-%d"
    plain = text.str.strip_suffix("Z") if first[0].endswith("Z") else text
    times = plain.str.to_datetime(likely, strict=False, time_unit="us").to_physical()
    rest = text.is_not_null() & times.is_null()
    return _filled(times, rest, lambda: _any_iso(text.filter(rest)))


def _any_iso(text: pl.Series) -> pl.Series:
    """Of texts in ISO 8601, with 'T' or a space before the hour, a fraction, a zone."""
    parts = text.str.extract_groups(ISO).struct.unnest()
    second = pl.coalesce("second", pl.lit(":00"))
    local = pl.concat_str("day", pl.lit(" "), pl.coalesce("minute", pl.lit("00:00")), second)
    fraction = pl.coalesce("fraction", pl.lit(".0")).str.slice(1, 6).str.pad_end(6, "0")
    zone = pl.col("zone").str.replace(":", "", literal=True).str.replace("Z", "+0000", literal=True)
    hours, minutes = zone.str.slice(1, 2).cast(pl.Int64), zone.str.slice(3, 2).cast(pl.Int64)
    ahead = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1) * (hours * 60 + minutes)
    return parts.select(
        local.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="us").to_physical()
        + fraction.cast(pl.Int64)
        - ahead.fill_null(0) * (60 * SECOND)
    ).to_series()


def _filled(times: pl.Series, rest: pl.Series, slow: Callable[[], pl.Series]) -> pl.Series:
    """`times`, with what `slow` gives in the rows `rest`."""
    return times.scatter(rest.arg_true(), slow()) if rest.any() else times


def show(value: int, unit: str) -> str:
    """A time as a person reads it: '2026-03-05', '2026-03-05 12:30:00', with a fraction where it
    has one; a plain number as it is."""
    if unit == "number":
        return str(value)
    if not EARLIEST <= value < LATEST:
        return f"{value} µs"
    time = (EPOCH + datetime.timedelta(microseconds=value)).replace(tzinfo=None)
    return time.date().isoformat() if value % DAY == 0 else time.isoformat(" ")


def read(text: str, unit: str) -> int:
    """The time that `text` says, such as '2026-03-05' or '2026-03-05 12:00'.

    Beside dates, the form of the column itself is read: 1772668800 where the unit is s.

    Raises:
      UserError: `text` says no time.
    """
    found = to_time(pl.Series([text]), unit)[0]
    if found is None and unit != "number":
        found = to_time(pl.Series([text]), "date")[0]
    if found is None:
        expected = "a whole number" if unit == "number" else "a time such as 2026-03-05 or "
        expected += "" if unit == "number" else "2026-03-05 12:00"
        raise UserError(f"expected {expected}, got {text!r}")
    return found
