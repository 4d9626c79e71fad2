"""What expressions mean, over a frame with a column of each type."""

import datetime

import polars as pl
import pytest

from dtn_jax.datasets.logs.formula.expression import check, of_column, parse

FRAME = pl.DataFrame(
    {
        "a": [1, 0, None, 2**62],
        "b": [0, 2, 3, 4],
        "f": [1.5, float("nan"), -2.5, None],
        "s": ["31", " 5 ", None, "x"],
        "words": ["Red", "blue", None, ""],
        "yes": ["true", "0", "perhaps", None],
        "truth": [True, False, None, True],
        "items": [[1], [], None, [1, 2]],
        "pair": pl.Series([[1, 2]] * 4, dtype=pl.Array(pl.Int64, 2)),
        "hash": pl.Series([2**64 - 1, 1, 2, 3], dtype=pl.UInt64),
        "byte": pl.Series([100, -100, None, 1], dtype=pl.Int8),
        "said": ["2026-03-05 23:30:00", "2026-03-06", "soon", None],
        "day-time": [
            datetime.datetime(2026, 3, 5, 23, 30),
            None,
            datetime.datetime(1969, 12, 31),
            datetime.datetime(2026, 3, 8),
        ],
        "t": [1_772_753_400, 0, None, 10**17],  # 2026-03-05 23:30, 1970, none, beyond any year
        "none": [None] * 4,
        "kind": pl.Series(["x", "y", None, "x"], dtype=pl.Categorical),
    }
)
T, F, N = True, False, None


def over(text, frame=FRAME, time="t", unit="s"):
    made = parse(text, "x.yaml, line 1: label", time, unit)
    check(made, frame.schema, "x.yaml, line 1: label")
    return made.over(frame).to_list(), made.wrong(frame).to_list()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + 1", [2, 1, N, 2**62 + 1]),
        ("2 * b - 1", [-1, 3, 5, 7]),
        ("-b", [0, -2, -3, -4]),
        ("-2 - -b", [-2, 0, 1, 2]),
        ("b / 2", [0.0, 1.0, 1.5, 2.0]),
        ("7 // b", [N, 3, 2, 1]),
        ("-7 // b", [N, -4, -3, -2]),
        ("-7 % b", [N, 1, 2, 1]),
        ("a / b", [N, 0.0, N, 2.0**60]),
        ("1 / b > 0", [N, T, T, T]),
        ("(b + 1) * 2", [2, 6, 8, 10]),
        ("b + 1 * 2", [2, 4, 5, 6]),
        ("byte * 100", [10_000, -10_000, N, 100]),
        ("hash % 10", [5, 1, 2, 3]),
        ("hash > 2", [T, F, F, T]),
        ("hash == 3", [F, F, F, T]),
        ("0 < b < 4", [F, T, T, F]),
        ("b >= 2 and b <= 3", [F, T, T, F]),
        ("a == 1", [T, F, N, F]),
        ("a != 1", [F, T, N, T]),
        ("a > 0 and b > 3", [F, F, F, T]),
        ("a > 0 and b > 2", [F, F, N, T]),
        ("a > 0 or b > 2", [T, F, T, T]),
        ("a > 0 or b > 3", [T, F, N, T]),
        ("not a > 0", [F, T, N, F]),
        ("not not a > 0", [T, F, N, T]),
        ("b in [2, 4]", [F, T, F, T]),
        ("b not in [2, 4.0]", [T, F, T, F]),
        ("a in [1]", [T, F, N, F]),
        ("b in [-1, 0]", [T, F, F, F]),
        ("words in ['Red', 'green']", [T, F, N, F]),
        ("words == ''", [F, F, N, T]),
        ("kind == 'x'", [T, F, N, T]),
        ("words < 'a'", [T, F, N, T]),
        ("truth", [T, F, N, T]),
        ("truth + 1", [2, 1, N, 2]),
        ("truth == true", [T, F, N, T]),
        ("truth and b in [0, 2]", [T, F, F, F]),
        ("length(items)", [1, 0, N, 2]),
        ("length(pair) + b", [2, 4, 5, 6]),
        ("missing(a)", [F, F, T, F]),
        ("missing(items) or missing(words)", [F, F, T, F]),
        ("missing(none)", [T, T, T, T]),
        ("none > 3", [N, N, N, N]),
        ("none == 'x'", [N, N, N, N]),
        ("not none", [N, N, N, N]),
        ("min(a, b)", [0, 0, N, 4]),
        ("max(a, b, 3)", [3, 3, N, 2**62]),
        ("abs(byte)", [100, 100, N, 1]),
        ("sqrt(b - 3)", [N, N, 0.0, 1.0]),
        ("log(a)", [0.0, N, N, pytest.approx(42.97512519471661)]),
        ("log1p(b) > 1", [F, T, T, T]),
        ("round(b / 4)", [0, 0, 1, 1]),
        ("lower(words)", ["red", "blue", N, ""]),
        ("text(a)", ["1", "0", N, str(2**62)]),
        ("`day-time` > '2026-03-05 23:00'", [T, N, F, T]),
        ("'2026-03-06' <= `day-time`", [F, N, F, T]),
        ("`day-time` in ['2026-03-08', '2026-03-07']", [F, N, F, T]),
        ("hour(`day-time`)", [23, N, 0, 0]),
        ("weekday(`day-time`)", [3, N, 2, 6]),  # Thursday, Wednesday, Sunday
        ("day(`day-time`)", [5, N, 31, 8]),
        ("number(`day-time`)", [1_772_753_400.0, N, -86_400.0, 1_772_928_000.0]),
        ("(((a)))", [1, 0, N, 2**62]),
        ("`a` + `b`", [1, 2, N, 2**62 + 4]),
        ("1e1 + b", [10.0, 12.0, 13.0, 14.0]),
        (".5 < b", [F, T, T, T]),
    ],
)
def test_values(text, expected):
    assert over(text) == (expected, [False] * 4)


@pytest.mark.parametrize(
    ("text", "expected", "wrong"),
    [
        ("s > 30", [T, F, N, N], [F, F, F, T]),
        ("s + 1", [32.0, 6.0, N, N], [F, F, F, T]),
        ("s in [31, 4]", [T, F, N, N], [F, F, F, T]),
        ("s == '31'", [T, F, N, F], [F, F, F, F]),
        ("s == a", [F, F, N, N], [F, F, F, T]),
        ("number(s)", [31.0, 5.0, N, N], [F, F, F, T]),
        ("missing(s)", [F, F, T, F], [F, F, F, F]),
        ("b > 3 or s > 30", [T, F, N, T], [F, F, F, T]),
        ("f > 0", [T, N, F, N], [F, F, F, F]),
        ("round(f)", [2.0, N, -2.0, N], [F, F, F, F]),
        ("yes == true", [T, F, N, N], [F, F, T, F]),
        ("yes and b != 2", [T, F, N, N], [F, F, T, F]),
        ("not b", [T, N, N, N], [F, T, T, T]),
        ("a * 4", [4, 0, N, N], [F, F, F, T]),
        ("log(2) or truth", [T, N, N, T], [T, T, T, T]),  # 0.69 is neither true nor false
        ("not 1 * 1 == b", [T, T, T, T], [F, F, F, F]),
        ("not -true == b", [T, T, T, T], [F, F, F, F]),
        ("hash + 0", [N, 1, 2, 3], [T, F, F, F]),
        ("said > '2026-03-05 12:00'", [T, T, T, N], [F, F, F, F]),
        ("hour(said)", [23, 0, N, N], [F, F, T, F]),
        ("hour(t)", [23, 0, N, N], [F, F, F, T]),
        ("t < '2026-01-01'", [F, T, N, N], [F, F, F, T]),
    ],
)
def test_what_cannot_be_read_is_missing_and_found(text, expected, wrong):
    assert over(text) == (expected, wrong)


def test_a_column_alone_is_taken_as_it_is():
    made = parse("items", "x")
    assert made.over(FRAME).to_list() == FRAME["items"].to_list()
    assert made.wrong(FRAME).to_list() == [False] * 4
    assert of_column("day-time").over(FRAME).to_list() == FRAME["day-time"].to_list()
    assert (made.column, parse("a + 1", "x").column) == ("items", "")


def test_a_column_alone_reads_as_the_type_that_is_needed():
    value, wrong = parse("s", "x").read(FRAME, "number")
    assert (value.to_list(), wrong.to_list()) == ([31.0, 5.0, N, N], [F, F, F, T])
    value, wrong = parse("yes", "x").read(FRAME, "truth")
    assert (value.to_list(), wrong.to_list()) == ([T, F, N, N], [F, F, T, F])
    value, wrong = parse("truth", "x").read(FRAME, "truth")
    assert (value.to_list(), wrong.to_list()) == ([T, F, N, T], [F, F, F, F])
    value, _ = parse("a > 0", "x").read(FRAME, "number")
    assert value.to_list() == [1, 0, N, 1]


def test_the_time_column_has_a_unit_others_have_none():
    made = parse("hour(t)", "x", "t").timed("t", "ms")
    assert made.over(FRAME.head(1)).to_list() == [12]  # 1970-01-21 12:25:53


def test_columns_are_each_named_once_in_order():
    assert parse("b + a * b + hour(`day-time`)", "x").columns == ("b", "a", "day-time")


def test_an_empty_frame_gives_no_rows():
    assert over("s > 30 and hour(said) == 3", FRAME.clear()) == ([], [])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a>1", "a  >  1"),
        ("(a)+(b)", "a+b"),
        ("a == 'x'", 'a == "x"'),
        ("`a`", "a"),
        ("a+1", "a + 01"),
    ],
)
def test_the_same_meaning_is_written_in_one_way(one, other):
    assert parse(one, "x").meaning == parse(other, "x").meaning


def test_another_meaning_is_written_in_another_way():
    texts = ["a", "`a b`", "-a", "a - (b - 1)", "a - b - 1", "a == 1", "a == true", "a == '1'"]
    assert len({parse(text, "x").meaning for text in texts}) == len(texts)
