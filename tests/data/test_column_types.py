"""Types are decided once: what columns are read as, and scored values become; times of any form;
buckets of equal counts of numbers, and the bins of standardised values."""

import datetime
import decimal
import math

import numpy as np
import polars as pl
import pytest

from dtn_jax.data import cast, columns
from dtn_jax.data.quantiles import QuantileBuckets, quantiles, signed_log, standardised_edges
from dtn_jax.data.raw import types as column_types
from dtn_jax.data.times import read, show, to_time, unit_of
from dtn_jax.errors import UserError

US, MS = pl.Datetime("us"), pl.Datetime("ms", "Europe/Paris")
TOGETHER = [  # (types of a column in several files, the type of the log)
    ([pl.Int8, pl.Int64, pl.UInt32], pl.Int64),
    ([pl.UInt64, pl.Int64], pl.String),
    ([pl.Int64, pl.Float64], pl.String),  # a float would round large numbers
    ([pl.Float32, pl.Float64], pl.Float64),
    ([pl.Boolean, pl.Int64], pl.Int64),
    ([pl.Null, pl.Int64], pl.Int64),
    ([pl.Date, MS], US),
    ([pl.String, pl.Int64], pl.String),
    ([pl.List(pl.Int64), pl.List(pl.String)], pl.List(pl.String)),
    ([pl.List(pl.Int64), pl.Int64], pl.Struct([])),
]


@pytest.mark.parametrize(("types", "expected"), TOGETHER)
def test_files_of_a_log_agree_on_a_type(types, expected):
    for order in (types, types[::-1]):
        found = columns.types_of([{"a": kind} for kind in order] + [{}], ["a"])
        assert found == {"a": expected}


def test_types_have_names():
    for kind in (*column_types.NAMES.values(), pl.List(pl.Int64), pl.List(pl.String)):
        assert column_types.of_name(column_types.name_of(kind)) == kind


MIDNIGHT, NOON = datetime.datetime(2026, 3, 5), datetime.datetime(2026, 3, 5, 12)
SCORED = [  # (values, the type of training, what they become; None of a row that is bad)
    ([5, -1], pl.Int64, [5, -1]),
    ([5.0, 5.5, math.nan, 2.0**70], pl.Int64, [5, None, "missing", None]),
    (["5", " 5 ", "5.0", "x", "", str(2**63 - 1)], pl.Int64, [5, 5, 5, None, None, 2**63 - 1]),
    ([True, False], pl.Int64, [1, 0]),
    ([decimal.Decimal(2**53 + 1)], pl.Int64, [2**53 + 1]),
    ([-1, 7], pl.UInt64, [None, 7]),
    ([2**63 + 5], pl.String, [str(2**63 + 5)]),
    ([7, 2**53 + 1], pl.Float64, [7.0, float(2**53)]),
    (["0.5", "1e3", "x"], pl.Float64, [0.5, 1000.0, None]),
    ([5.0, 2.5, math.nan], pl.String, ["5", "2.5", "missing"]),
    ([NOON, MIDNIGHT], pl.String, ["2026-03-05 12:00:00", "2026-03-05 00:00:00"]),
    ([0.1, 1e300], pl.Float32, [float(np.float32(0.1)), None]),
    ([decimal.Decimal("9007199254740993.00")], pl.Int64, [2**53 + 1]),
    ([decimal.Decimal("9007199254740993.00")], pl.String, [str(2**53 + 1)]),
    ([1, 0, 2], pl.Boolean, [True, False, None]),
    (["true", "True", "0", "yes"], pl.Boolean, [True, True, False, None]),
    (["2026-03-05", "2026-03-05T00:00:00Z", "x"], US, [MIDNIGHT, MIDNIGHT, None]),
    ([1_772_668_800], US, [None]),
    ([[1, 2], [], None], pl.List(pl.String), [["1", "2"], [], "missing"]),
    ([["1", "x"], ["2"]], pl.List(pl.Int64), [None, [2]]),
    ([[1.0, math.nan], [2.5]], pl.List(pl.Int64), [[1, None], None]),
    ([[0.5, 0.1]], pl.List(pl.Float32), [[0.5, float(np.float32(0.1))]]),
    ([[1]], pl.Int64, [None]),
]


LONG, SURROGATE = 10**30, "\ud800"
MIXED = [  # the same of values of Python that no column of one type holds
    ([5, "5", 5.0, True, None, 5.5, {}, LONG], pl.Int64, [5, 5, 5, 1, "missing", None, None, None]),
    ([5, "x", 2.5, LONG, SURROGATE], pl.String, ["5", "x", "2.5", str(LONG), None]),
    ([LONG, np.float32(0.5), decimal.Decimal("1.5"), b""], pl.Float64, [1e30, 0.5, 1.5, None]),
    (["2026-03-05", MIDNIGHT, math.nan, 5], US, [MIDNIGHT, MIDNIGHT, "missing", None]),
    ([[1, "2"], (3,), [{}], "x"], pl.List(pl.Int64), [[1, 2], [3], None, None]),
    ([math.nan, [1]], pl.List(pl.Int64), ["missing", [1]]),
    ([type("NaTType", (), {})(), NOON], US, ["missing", NOON]),
    ([NOON.replace(tzinfo=datetime.UTC), "a"], pl.String, ["2026-03-05 12:00:00", "a"]),
    ([None], pl.Null, ["missing"]),
]
CASES = [(False, *case) for case in SCORED] + [(True, *case) for case in [*SCORED, *MIXED]]


@pytest.mark.parametrize(("python", "values", "kind", "expected"), CASES)
def test_a_scored_value_gets_the_type_of_training_or_its_row_is_bad(python, values, kind, expected):
    good = np.ones(len(values), bool)

    def reject(fits, reason, column):
        good[:] &= np.asarray(fits)

    if python:
        found = cast.of_values("a", values, kind, reject)
    else:
        found = cast.typed(pl.Series("a", values, strict=False), kind, reject)
    assert found.dtype == kind
    assert good.tolist() == [value is not None for value in expected]
    there = [value for value, fits in zip(found.to_list(), good) if fits]
    assert there == [None if v == "missing" else v for v in expected if v is not None]


# Time columns of every form: one whole number a row, and null where a value says no time.


UTC = datetime.UTC
MOMENT = datetime.datetime(2026, 3, 5, 12, 30, 0, 250_000, tzinfo=UTC)
MICROSECONDS = int(MOMENT.timestamp()) * 1_000_000 + 250_000  # 1_772_713_800_250_000
SECONDS = MICROSECONDS // 1_000_000
DAWN = int(datetime.datetime(2026, 3, 5, tzinfo=UTC).timestamp()) * 1_000_000


ZONES = [("ms", None), ("us", "UTC"), ("ns", "Asia/Shanghai"), ("us", None)]
WHOLE = [  # (unit, value, its time)
    ("s", SECONDS, SECONDS * 1_000_000),
    ("ms", MICROSECONDS // 1000, MICROSECONDS),
    ("us", MICROSECONDS, MICROSECONDS),
    ("ns", MICROSECONDS * 1000 + 7, MICROSECONDS),
    ("yyyymmdd", 20260305, DAWN),
    ("number", 17, 17),
    ("number", -3, -3),
]
DATES = [datetime.date(2026, 3, 5), datetime.date(1969, 12, 31), None]
COLUMNS = [(pl.Series(DATES), "date", [DAWN, -86_400_000_000, None])]
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
        ("2026-03-05", DAWN),
        ("2026-02-30", None),
        ("2026-03-05 12:30:00 tomorrow", None),
        ("", None),
    ],
)
def test_texts(text, expected):
    assert to_time(pl.Series([text]), "date").to_list() == [expected]
    for other in ("2026-03-05", "2026-03-05 00:00:00", "2026-03-05T00:00:00Z", "?"):  # the first
        column = pl.Series([other, None, text])  # decides how most are read
        first = None if other == "?" else DAWN
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
        ("2026-03-05", "date", DAWN),
        ("2026-03-05 12:30", "s", MICROSECONDS - 250_000),
        ("20260305", "yyyymmdd", DAWN),
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


# --- quantiles -----------------------------------------------------------------------------------


def counted(values):
    return np.unique(np.asarray(values, np.float64), return_counts=True)


def fit(values, buckets=32):
    return QuantileBuckets(buckets).fit(*counted(values))


def encode(fitted, values):
    rows = fitted.encode(np.asarray(values))
    assert rows.dtype == np.int32
    assert ((rows >= 0) & (rows < fitted.rows)).all()
    return rows.tolist()


def test_a_dominating_value_has_a_bucket_of_its_own():
    rng = np.random.default_rng(0)
    values = np.where(rng.random(20_000) < 0.9, 0.0, rng.lognormal(5, 2, 20_000))
    fitted = fit(values, buckets=8)
    assert fitted.dominating == (0.0,)
    assert fitted.rows == 1 + 1 + 8
    rows = np.array(encode(fitted, values))
    assert ((rows == 1) == (values == 0)).all()
    # The others fill their buckets evenly: 2,000 in 8.
    counts = np.bincount(rows, minlength=10)[2:]
    assert counts.sum() == (values != 0).sum()
    assert counts.max() - counts.min() <= 2


def test_buckets_are_evenly_filled_and_ordered():
    values = np.random.default_rng(1).normal(size=3_200)
    fitted = fit(values)
    assert fitted.dominating == ()
    rows = np.array(encode(fitted, np.sort(values)))
    assert (np.diff(rows) >= 0).all()
    assert np.bincount(rows).tolist() == [0] + [100] * 32


def test_few_distinct_values_each_have_a_bucket():
    values = [v for v, n in {3: 500, 5: 1, 6: 300, 9: 2, 11: 30, 12: 1}.items() for _ in range(n)]
    fitted = fit(values, buckets=8)
    assert fitted.dominating == (3.0, 6.0)
    assert len(set(encode(fitted, [3, 5, 6, 9, 11, 12]))) == 6
    assert encode(fitted, [5, 9, 11, 12]) == [3, 4, 5, 6]
    # As many as there are buckets, all rare: still one each.
    values = np.repeat(np.arange(30), np.r_[1, [100] * 29])
    assert len(set(encode(fit(values, buckets=30), np.arange(30)))) == 30


def test_missing_numbers_get_row_0():
    assert encode(fit(range(50), buckets=4), [np.nan, np.inf, -np.inf, 0.0]) == [0, 0, 0, 1]


def test_a_constant_column_and_one_of_nothing():
    fitted = fit([4] * 10)
    assert (fitted.dominating, fitted.edges, fitted.rows) == ((4.0,), (), 3)
    assert encode(fitted, [4, 3, 5]) == [1, 2, 2]
    empty = fit([])
    assert empty.rows == 2
    assert encode(empty, [np.nan, 3.0, -1.0]) == [0, 1, 1]


def edges(values, bins=48):
    values = np.asarray(values, np.float64)
    scale = (values.mean(), values.std() or 1.0) if len(values) else (0.0, 1.0)
    return standardised_edges(quantiles(*counted(values), bins), *scale)


def test_bins_are_the_quantiles_of_train_each_once():
    values = np.random.default_rng(0).lognormal(0, 1, 999)
    expected = np.quantile(values, np.arange(9) / 8, method="inverted_cdf")
    scaled = (values - values.mean()) / values.std()
    got = edges(values, bins=8)
    np.testing.assert_allclose(got, (expected - values.mean()) / values.std(), rtol=1e-6)
    shares = np.histogram(np.float32(scaled), got)[0] / len(values)
    assert np.ptp(shares) <= 2 / len(values)
    often = [0.0] * 60 + list(range(1, 41))  # five quantiles are the 0
    assert len(edges(often, bins=8)) == 5
    assert edges(often, bins=8)[0] == np.float32((0 - np.mean(often)) / np.std(often))


@pytest.mark.parametrize("values", [[], [4.0] * 9, [1e20] * 3, [1e9, 1e9 + 1e-6]])
def test_there_is_a_bin_whatever_the_values(values):
    got = edges(values)
    assert len(got) >= 2
    assert (np.diff(np.float32(got)) > 0).all()


def test_logarithms_of_either_sign():
    values = np.array([-np.e + 1, 0.0, np.e - 1, np.e**2 - 1])
    np.testing.assert_allclose(signed_log(values), [-1, 0, 1, 2], rtol=1e-12)
    assert np.isnan(signed_log(np.array([np.nan]))).all()
