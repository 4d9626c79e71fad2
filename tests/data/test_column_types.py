"""Types are decided once: what a column of a log is read as, and what a scored value becomes."""

import datetime
import decimal
import math

import numpy as np
import polars as pl
import pytest

from dtn_jax.data import cast, columns
from dtn_jax.data.raw import types as column_types

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
