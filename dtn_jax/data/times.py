"""Time columns in every form that logs have, as one whole number a row.

Real times become microseconds since 1970 in UTC; a time without a zone is taken as UTC. Plain
numbers, such as a row's place in the log, stay as they are. The units are TIME_UNITS:

    date       a date or date-time column, or texts in ISO 8601: 2026-03-05, 2026-03-05 12:30:00,
               2026-03-05T12:30:00.25Z, 2026-03-05T12:30+01:00
    s ms us ns since 1970, as numbers or their texts
    yyyymmdd   such as 20260305, as numbers or their texts
    number     whole numbers of any other meaning, or their texts
"""

from __future__ import annotations

import datetime
from typing import Any

import polars as pl

from dtn_jax.errors import UserError

Type = Any  # a polars type; beartype cannot name polars' DataType

TIME_UNITS = ("date", "s", "ms", "us", "ns", "yyyymmdd", "number")
SECOND = 1_000_000
DAY = 86_400 * SECOND
EPOCH = datetime.datetime(1970, 1, 1)
EARLIEST = -62_135_596_800 * SECOND  # 0001-01-01
LATEST = 253_402_300_800 * SECOND  # 10000-01-01, which is too late
LONG_AGO = 100_000_000 * SECOND  # 1973; smaller numbers are not taken for times
PER_UNIT = {"s": 1_000_000, "ms": 1000, "us": 1, "ns": 1e-3}  # microseconds
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
    if is_text(kind):
        sample = sample.cast(pl.String).str.strip_chars().drop_nulls()
    elif not (is_date(kind) or kind.is_numeric() or kind == pl.Null):
        raise UserError(
            f"the time column {sample.name!r} holds {kind}; expected dates, times, numbers or texts"
        )
    numbers = sample.cast(pl.Float64, strict=False)
    if is_date(kind) or (is_text(kind) and numbers.is_not_null().sum() * 2 <= len(numbers)):
        return "date"
    numbers = numbers.filter(numbers.is_finite())
    if to_time(numbers, "yyyymmdd").is_not_null().sum() * 2 > len(numbers):
        return "yyyymmdd"
    middle = numbers.quantile(0.5, "lower") or 0.0
    fits = [unit for unit, size in PER_UNIT.items() if LONG_AGO <= middle * size < LONG_AGO * 1000]
    return fits[0] if fits else "number"


def check_hours(sample: pl.Series) -> None:
    """Raises UserError where most values are whole numbers such as 2026030112: seconds, by their
    size, but an hour of a day, as they are written."""
    numbers = sample.cast(pl.Float64, strict=False)
    days = to_time((numbers // 100).filter(numbers % 100 < 24), "yyyymmdd")
    if days.is_not_null().sum() * 2 > len(numbers):
        raise UserError(
            f"the time column {sample.name!r} holds whole numbers such as {numbers[0]:.0f}: hours "
            "as yyyymmddhh, or seconds? Write dates and times such as 2026-03-05 12:00, or give "
            f"the unit, as in time: {{column: {sample.name}, unit: s}}"
        )


def to_time(column: pl.Series, unit: str) -> pl.Series:
    """Its times as int64, null where there is none or where it does not parse, as in lists.

    Args:
      column: the time column.
      unit: one of TIME_UNITS.

    Raises:
      UserError: a column whose type does not go with the unit.
    """
    kind = column.dtype
    if kind == pl.Null or kind.is_nested():
        return pl.Series(column.name, [None] * len(column), dtype=pl.Int64)
    if is_text(kind):
        text = column.cast(pl.String).str.strip_chars()
        return _iso(text) if unit == "date" else _numbers(text, unit)
    if is_date(kind) != (unit == "date"):
        raise UserError(f"a column of {kind} does not have the time unit {unit!r}")
    if unit == "date":
        return column.cast(pl.Datetime("us")).to_physical()
    fraction = kind.is_float() or kind.is_decimal()
    number = column.cast(pl.Float64 if fraction else pl.Int64, strict=False)
    return _plain(number, unit) if unit in ("yyyymmdd", "number") else _since_1970(number, unit)


def _plain(number: pl.Series, unit: str) -> pl.Series:
    """Of whole numbers, and of dates such as 20260305."""
    whole = number.cast(pl.Int64, strict=False)
    whole = whole.set(whole != number, None)
    if unit == "number":
        return whole
    day = whole.set(~whole.is_between(1000_01_01, 9999_12_31), None).cast(pl.String)
    return to_time(day.str.to_date("%Y%m%d", strict=False), "date")


def _since_1970(number: pl.Series, unit: str) -> pl.Series:
    """Of numbers of seconds and so on, to the microsecond."""
    size = PER_UNIT[unit]
    time = near = (number.cast(pl.Float64) * size).round()
    if number.dtype == pl.Int64:
        time = number // 1000 if unit == "ns" else number * size
    beyond = ~time.is_between(EARLIEST, LATEST, closed="left") | (near.abs() > 2.0**62)
    return time.set(beyond, None).cast(pl.Int64)


def _numbers(text: pl.Series, unit: str) -> pl.Series:
    """Of texts of numbers."""
    whole = text.cast(pl.Int64, strict=False)
    rest = text.is_not_null() & whole.is_null()
    fractions = to_time(text.filter(rest).cast(pl.Float64, strict=False), unit)
    return to_time(whole, unit).scatter(rest.arg_true(), fractions)


def _iso(text: pl.Series) -> pl.Series:
    """Of texts in ISO 8601: quickly of those that look like the first, with care of the rest."""
    first = (text.drop_nulls().head(1).to_list() or [""])[0]
    between = first[10:11] if first[10:11] in ("T", " ") else ""
    fraction = "%.f" if first[19:20] == "." else ""
    likely = f"%Y-%m-%d{between}%H:%M:%S{fraction}" if between else "%Y-%m-%d"
    plain = text.str.strip_suffix("Z") if first.endswith("Z") else text
    times = plain.str.to_datetime(likely, strict=False, time_unit="us").to_physical()
    if times.null_count() == text.null_count():
        return times
    rest = text.is_not_null() & times.is_null()
    return times.scatter(rest.arg_true(), _any_iso(text.filter(rest)))


def _any_iso(text: pl.Series) -> pl.Series:
    """Of texts in ISO 8601, with 'T' or a space before the hour, a fraction, a zone."""
    absent = {"minute": "00:00", "second": ":00", "fraction": "", "zone": "Z"}
    rest = [pl.col(name).fill_null(default) for name, default in absent.items()]
    whole = pl.concat_str("day", pl.lit(" "), *rest)
    times = whole.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%#z", strict=False, time_unit="us")
    return text.str.extract_groups(ISO).struct.unnest().select(times.to_physical()).to_series()


def show(value: int, unit: str) -> str:
    """A time as a person reads it: '2026-03-05', '2026-03-05 12:30:00', with a fraction where it
    has one; a plain number as it is."""
    if unit == "number":
        return str(value)
    if not EARLIEST <= value < LATEST:
        return f"{value} µs"
    time = EPOCH + datetime.timedelta(microseconds=value)
    return time.date().isoformat() if value % DAY == 0 else time.isoformat(" ")


def date(day: int) -> str:
    """A day since 1970-01-01 as 2022-04-09."""
    return show(day * DAY, "date")


def read(text: str, unit: str) -> int:
    """The time that `text` says, such as '2026-03-05' or '2026-03-05 12:00'.

    Beside dates, the form of the column itself is read: 1772668800 where the unit is s.

    Raises:
      UserError: `text` says no time.
    """
    time = to_time(pl.Series([text]), unit)[0]
    if time is None and unit != "number":
        time = to_time(pl.Series([text]), "date")[0]
    if time is None:
        expected = "a whole number" if unit == "number" else "a time such as 2026-03-05 or "
        expected += "" if unit == "number" else "2026-03-05 12:00"
        raise UserError(f"expected {expected}, got {text!r}")
    return time
