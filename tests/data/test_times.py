"""Time columns of every form: one whole number a row, and null where a value says no time."""

import datetime

import polars as pl
import pytest

from dtn_jax.data.times import read, show, to_time, unit_of
from dtn_jax.errors import UserError

UTC = datetime.UTC
MOMENT = datetime.datetime(2026, 3, 5, 12, 30, 0, 250_000, tzinfo=UTC)
MICROSECONDS = int(MOMENT.timestamp()) * 1_000_000 + 250_000  # 1_772_713_800_250_000
SECONDS = MICROSECONDS // 1_000_000
MIDNIGHT = int(datetime.datetime(2026, 3, 5, tzinfo=UTC).timestamp()) * 1_000_000


ZONES = [("ms", None), ("us", "UTC"), ("ns", "Asia/Shanghai"), ("us", None)]
WHOLE = [  # (unit, value, its time)
    ("s", SECONDS, SECONDS * 1_000_000),
    ("ms", MICROSECONDS // 1000, MICROSECONDS),
    ("us", MICROSECONDS, MICROSECONDS),
    ("ns", MICROSECONDS * 1000 + 7, MICROSECONDS),
    ("yyyymmdd", 20260305, MIDNIGHT),
    ("number", 17, 17),
    ("number", -3, -3),
]
DATES = [datetime.date(2026, 3, 5), datetime.date(1969, 12, 31), None]
COLUMNS = [(pl.Series(DATES), "date", [MIDNIGHT, -86_400_000_000, None])]
for unit, zone in ZONES:
    local = pl.Series([MOMENT if zone else MOMENT.replace(tzinfo=None), None])
    COLUMNS.append((local.cast(pl.Datetime(unit, zone)), "date", [MICROSECONDS, None]))
for unit, value, expected in WHOLE:
    column = pl.Series([value] * 5 + [None])
    COLUMNS += [(c, unit, [expected] * 5 + [None]) for c in (column, column.cast(pl.String))]


@pytest.mark.parametrize(("column", "unit", "expected"), COLUMNS)
def test_columns_of_every_unit_and_zone(column, unit, expected):
    assert unit_of(column) == unit
    times = to_time(column, unit)
    assert times.dtype == pl.Int64
    assert times.to_list() == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-05 12:30:00.25", MICROSECONDS),
        ("2026-03-05T12:30:00.25Z", MICROSECONDS),
        ("2026-03-05T14:00:00.25+01:30", MICROSECONDS),
        ("2026-03-05 04:00:00.25 -08:30", MICROSECONDS),
        ("2026-03-05T12:30+00:30", MICROSECONDS - 250_000 - 1_800_000_000),
        ("2026-03-05", MIDNIGHT),
        ("2026-02-30", None),
        ("2026-03-05 12:30:00 tomorrow", None),
        ("", None),
    ],
)
def test_texts(text, expected):
    assert to_time(pl.Series([text]), "date").to_list() == [expected]
    for other in ("2026-03-05", "2026-03-05 00:00:00", "2026-03-05T00:00:00Z", "?"):  # the first
        column = pl.Series([other, None, text])  # decides how most are read
        first = None if other == "?" else MIDNIGHT
        assert to_time(column, "date").to_list() == [first, None, expected]


UNITS = [  # one broken value does not change the unit; what is no time is a plain number
    (["2026-03-05", "2026-03-06", "17"], "date"),
    ([str(SECONDS), str(SECONDS), "?"], "s"),
    ([SECONDS, SECONDS, 0], "s"),
    ([20260305, 20260306, 0], "yyyymmdd"),
    *(([float(v) for v in values], "number") for values in ([], ["nan"], [3, 5, 100], [7e20])),
    (pl.Series([None], dtype=pl.Float64), "number"),
]


@pytest.mark.parametrize(("values", "unit"), UNITS)
def test_the_unit_of_values(values, unit):
    assert unit_of(pl.Series(values, dtype=None if len(values) else pl.Float64)) == unit


@pytest.mark.parametrize("kind", [pl.Boolean, pl.List(pl.Int64)])
def test_a_type_without_times(kind):
    with pytest.raises(UserError, match=r"time column 't' holds .*; expected dates, times"):
        unit_of(pl.Series("t", [], dtype=kind))


@pytest.mark.parametrize(
    ("unit", "value"),
    [
        ("s", MICROSECONDS),  # the year 56 million
        ("us", 2**62),
        ("number", float("nan")),
        ("yyyymmdd", 20260230),
        ("us", 253_402_300_800_000_000),  # the year 10000
        ("s", [1]),
    ],
)
def test_values_beyond_any_calendar_are_no_times(unit, value):
    assert to_time(pl.Series([value]), unit).to_list() == [None]


def test_times_are_exact_to_the_microsecond():
    last = 253_402_300_799_999_999  # of the year 9999, more than a float can tell
    assert to_time(pl.Series([last, last - 1]), "us").to_list() == [last, last - 1]
    assert to_time(pl.Series([1.0000019]), "s").to_list() == [1_000_002]


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("2026-03-05", "date", MIDNIGHT),
        ("2026-03-05 12:30", "s", MICROSECONDS - 250_000),
        ("20260305", "yyyymmdd", MIDNIGHT),
        (str(SECONDS), "s", SECONDS * 1_000_000),
        ("17", "number", 17),
    ],
)
def test_cuts(text, unit, expected):
    assert read(text, unit) == expected


def test_times_as_a_person_reads_them():
    assert show(0, "us") == "1970-01-01"
    assert show(MICROSECONDS, "us") == "2026-03-05 12:30:00.250000"
    assert (show(2**60, "us"), show(17, "number")) == (f"{2**60} µs", "17")
