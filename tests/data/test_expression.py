"""What expressions mean, over a frame with a column of each type, and at random against Python."""

import datetime
import itertools
import math
import random

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
        ("-2 - -b", [-2, 0, 1, 2]),
        ("7 // b", [N, 3, 2, 1]),
        ("-7 // b", [N, -4, -3, -2]),
        ("-7 % b", [N, 1, 2, 1]),
        ("a / b", [N, 0.0, N, 2.0**60]),
        ("1 / b > 0", [N, T, T, T]),
        ("b + 1 * 2", [2, 4, 5, 6]),
        ("byte * 100", [10_000, -10_000, N, 100]),
        ("hash % 10", [5, 1, 2, 3]),
        ("hash == 3", [F, F, F, T]),
        ("0 < b < 4", [F, T, T, F]),
        ("b >= 2 and b <= 3", [F, T, T, F]),
        ("a != 1", [F, T, N, T]),
        ("a > 0 and b > 3", [F, F, F, T]),
        ("a > 0 or b > 2", [T, F, T, T]),
        ("not a > 0", [F, T, N, F]),
        ("b not in [2, 4.0]", [T, F, T, F]),
        ("a in [1]", [T, F, N, F]),
        ("b in [-1, 0]", [T, F, F, F]),
        ("words in ['Red', 'green']", [T, F, N, F]),
        ("words == ''", [F, F, N, T]),
        ("kind == 'x'", [T, F, N, T]),
        ("words < 'a'", [T, F, N, T]),
        ("truth", [T, F, N, T]),
        ("truth + 1", [2, 1, N, 2]),
        ("truth and b in [0, 2]", [T, F, F, F]),
        ("length(items)", [1, 0, N, 2]),
        ("length(pair) + b", [2, 4, 5, 6]),
        ("missing(a)", [F, F, T, F]),
        ("missing(none)", [T, T, T, T]),
        ("none > 3", [N, N, N, N]),
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
        ("`a` + `b`", [1, 2, N, 2**62 + 4]),
    ],
)
def test_values(text, expected):
    assert over(text) == (expected, [False] * 4)


@pytest.mark.parametrize(
    ("text", "expected", "wrong"),
    [
        ("s > 30", [T, F, N, N], [F, F, F, T]),
        ("s in [31, 4]", [T, F, N, N], [F, F, F, T]),
        ("s == '31'", [T, F, N, F], [F, F, F, F]),
        ("s == a", [F, F, N, N], [F, F, F, T]),
        ("number(s)", [31.0, 5.0, N, N], [F, F, F, T]),
        ("missing(s)", [F, F, T, F], [F, F, F, F]),
        ("f > 0", [T, N, F, N], [F, F, F, F]),
        ("round(f)", [2.0, N, -2.0, N], [F, F, F, F]),
        ("yes and b != 2", [T, F, N, N], [F, F, T, F]),
        ("not b", [T, N, N, N], [F, T, T, T]),
        ("a * 4", [4, 0, N, N], [F, F, F, T]),
        ("log(2) or truth", [T, N, N, T], [T, T, T, T]),  # 0.69 is neither true nor false
        ("not 1 * 1 == b", [T, T, T, T], [F, F, F, F]),
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


def test_an_empty_frame_gives_no_rows():
    assert over("s > 30 and hour(said) == 3", FRAME.clear()) == ([], [])


def test_the_same_meaning_is_written_in_one_way_and_another_in_another():
    for one, other in (
        ("a>1", "a  >  1"),
        ("(a)+(b)", "a+b"),
        ("a == 'x'", 'a == "x"'),
        ("`a`", "a"),
    ):
        assert parse(one, "x").meaning == parse(other, "x").meaning
    texts = ["a", "`a b`", "-a", "a - (b - 1)", "a - b - 1", "a == 1", "a == true", "a == '1'"]
    assert len({parse(text, "x").meaning for text in texts}) == len(texts)


ROWS = 40
NUMBERS = ("a", "b", "x")


def random_rows(draw):
    """a and b are whole, x has fractions, s holds texts of numbers, c is true or false."""
    return [
        {
            "a": draw.choice([None, 0, 1, -3, draw.randint(-9, 9)]),
            "b": draw.randint(-3, 3),
            "x": draw.choice([None, 0.0, 0.5, draw.uniform(-5, 5)]),
            "s": draw.choice([None, str(draw.randint(-9, 9)), "2.5"]),
            "c": draw.choice([None, True, False]),
        }
        for _ in range(ROWS)
    ]


class Maker:
    """Makes (text, function from a row to its value); None stands for a missing value."""

    def __init__(self, draw):
        self.draw = draw

    def number(self, depth):
        kind = self.draw.choice(["leaf", "arithmetic", "call"]) if depth else "leaf"
        if kind == "leaf":
            name = self.draw.choice([*NUMBERS, "1", "2.5", "0", "number(s)"])
            if name[0].isdigit():
                return name, lambda row, value=float(name): value
            if name == "number(s)":
                return name, lambda row: None if row["s"] is None else float(row["s"])
            return name, lambda row: row[name]
        left, f = self.number(depth - 1)
        right, g = self.number(depth - 1)
        if kind == "arithmetic":
            sign = self.draw.choice(["+", "-", "*", "/", "//", "%"])
            return f"({left} {sign} {right})", lambda row: arithmetic(sign, f(row), g(row))
        name = self.draw.choice(["min", "max", "abs", "-"])
        if name in ("min", "max"):
            pick = min if name == "min" else max
            return f"{name}({left}, {right})", lambda row: both(pick, f(row), g(row))
        change = abs if name == "abs" else lambda value: -value
        return f"{name}({left})", lambda row: None if f(row) is None else change(f(row))

    def truth(self, depth):
        kinds = ["and", "or", "not", "chain", "in", "missing", "is"] if depth else ["is"]
        kind = self.draw.choice(kinds)
        if kind == "is":
            return "c", lambda row: row["c"]
        if kind in ("and", "or"):
            parts = [self.truth(depth - 1) for _ in range(self.draw.randint(2, 3))]
            text = f" {kind} ".join(f"({part})" for part, _ in parts)
            return text, lambda row: kleene(kind == "and", [f(row) for _, f in parts])
        if kind == "not":
            text, f = self.truth(depth - 1)
            return f"not ({text})", lambda row: None if f(row) is None else not f(row)
        if kind == "missing":
            text, f = self.number(depth - 1)
            return f"missing({text})", lambda row: f(row) is None
        if kind == "in":
            text, f = self.number(depth - 1)
            listed = self.draw.sample([-3, 0, 1, 2.5, 4], 2)
            negated = self.draw.random() < 0.5
            word = "not in" if negated else "in"
            return (
                f"{text} {word} {listed}",
                lambda row: None if f(row) is None else (f(row) in listed) != negated,
            )
        parts = [self.number(depth - 1) for _ in range(self.draw.randint(2, 3))]
        signs = [self.draw.choice(list(TESTS)) for _ in parts[1:]]
        text = parts[0][0] + "".join(f" {s} {t}" for s, (t, _) in zip(signs, parts[1:]))
        return text, lambda row: chain(signs, [f(row) for _, f in parts])


TESTS = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


def both(change, a, b):
    return None if a is None or b is None else change(a, b)


def arithmetic(sign, a, b):
    if a is None or b is None or (sign in ("/", "//", "%") and b == 0):
        return None
    made = {
        "+": lambda: a + b,
        "-": lambda: a - b,
        "*": lambda: a * b,
        "/": lambda: a / b,
        "//": lambda: math.floor(a / b),
        "%": lambda: a - b * math.floor(a / b),
    }[sign]()
    return made if math.isfinite(made) else None


def kleene(every, values):
    """`and` where `every`, else `or`."""
    if (not every) in values:
        return not every
    return None if None in values else every


def chain(signs, values):
    pairs = itertools.pairwise(values)
    return kleene(True, [both(TESTS[sign], *pair) for sign, pair in zip(signs, pairs)])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kind", ["number", "truth"])
def test_random_expressions(kind, seed):
    draw = random.Random(f"{kind} {seed}")
    table = random_rows(draw)
    frame = pl.DataFrame(
        table, {"a": pl.Int64, "b": pl.Int8, "x": pl.Float64, "s": pl.String, "c": pl.Boolean}
    )
    text, value = getattr(Maker(draw), kind)(draw.randint(1, 4))
    no_change = {"number": " + b * 0", "truth": " and not missing(b)"}
    text = f"({text}){no_change[kind]}"  # what is drawn may hold no column
    made = parse(text, "test")
    check(made, frame.schema, "test")
    expected = [value(row) for row in table]
    got = made.over(frame).to_list()
    for row, mine, other in zip(table, got, expected):
        same = mine is other if None in (mine, other) else math.isclose(mine, other, abs_tol=1e-9)
        assert same, (text, row, mine, other)
    assert not made.wrong(frame).any(), text
    again = parse(made.meaning, "test")
    assert again.over(frame).to_list() == got, (text, made.meaning)
