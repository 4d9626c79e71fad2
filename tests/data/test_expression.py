"""What expressions mean, over a frame with a column of each type; texts that are none, or reach for
Python, are refused with their place."""

import polars as pl
import pytest

from dtn_jax.data.formula import check, of_column, parse
from dtn_jax.errors import UserError

DAYS = ["2026-03-05 23:30", None, "1969-12-31 00:00", "2026-03-08 00:00"]
FRAME = pl.DataFrame(
    {
        "a": [1, 0, None, 2**62],
        "b": [0, 2, 3, 4],
        "f": [1.5, float("nan"), -2.5, None],
        "s": ["31", " 5 ", None, "x"],
        "words": ["Red", "blue", None, ""],
        "yes": [" True", "0", "perhaps", None],
        "truth": [True, False, None, True],
        "items": [[1], [], None, [1, 2]],
        "pair": pl.Series([[1, 2]] * 4, dtype=pl.Array(pl.Int64, 2)),
        "hash": pl.Series([2**64 - 1, 1, 2, 3], dtype=pl.UInt64),
        "byte": pl.Series([100, -100, None, 1], dtype=pl.Int8),
        "said": ["2026-03-05 23:30:00", "2026-03-06", "soon", None],
        "day-time": pl.Series(DAYS).str.to_datetime("%Y-%m-%d %H:%M"),
        "t": [1_772_753_400, 0, None, 10**17],  # 2026-03-05 23:30, 1970, none, beyond any year
        "none": [None] * 4,
        "kind": pl.Series(["x", "y", None, "x"], dtype=pl.Categorical),
    }
)
T, F, N = True, False, None


def read(text, kind="", frame=FRAME, time="t", unit="s"):
    expression = parse(text, "x.yaml, line 1: label", time, unit)
    check(expression, frame.schema, "x.yaml, line 1: label", kind)
    values, wrong = expression.read(frame, kind)
    assert values.name == text
    return values.to_list(), wrong.to_list()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + 1", [2, 1, N, 2**62 + 1]),
        ("-2 - -b", [-2, 0, 1, 2]),
        ("-7 // b", [N, -4, -3, -2]),
        ("b + 1 * 2", [2, 4, 5, 6]),
        ("(b + 1) * 2 - 8 / 4", [0, 4, 6, 8]),
        ("-7 % b", [N, 1, 2, 1]),
        ("min(a, b) + max(b, 3)", [3, 3, N, 8]),
        ("2**-b + -b**2", [1.0, -3.75, -8.875, -15.9375]),
        ("(b - 2)**-0.5", [N, N, 1.0, pytest.approx(0.5**0.5)]),
        ("0 < b <= 3 != a", [F, T, N, F]),
        ("a > 0 or b > 2", [T, F, T, T]),
        ("a > 0 and b > 0 and truth", [F, F, N, T]),
        ("not (missing(a) or b == 4)", [T, T, F, F]),
        ("a in [-3, 2.5] or missing(truth)", [F, F, T, F]),
        ("hash % 10", [5, 1, 2, 3]),
        ("hash == 3", [F, F, F, T]),
        ("b >= 2 and b <= 3", [F, T, T, F]),
        ("not a > 0", [F, T, N, F]),
        ("b not in [2, 4.0]", [T, F, T, F]),
        ("words == ''", [F, F, N, T]),
        ("words < 'a'", [T, F, N, T]),
        ("truth", [T, F, N, T]),
        ("truth + 1", [2, 1, N, 2]),
        ("truth and b in [0, 2]", [T, F, F, F]),
        ("length(items)", [1, 0, N, 2]),
        ("length(pair) + b", [2, 4, 5, 6]),
        ("none > 3", [N, N, N, N]),
        ("abs (byte)", [100, 100, N, 1]),
        ("log(a)", [0.0, N, N, pytest.approx(42.97512519471661)]),
        ("round(b / 4)", [0, 0, 1, 1]),
        ("lower(words)", ["red", "blue", N, ""]),
        ("text(a)", ["1", "0", N, str(2**62)]),
        ("text(truth)", ["true", "false", N, "true"]),
        ("s == words", [F, F, N, F]),
        ("truth == a", [T, T, N, F]),
        ("none == words", [N, N, N, N]),
        ("`day-time` > '2026-03-05 23:00'", [T, N, F, T]),
        ("`day-time` in ['2026-03-08', '2026-03-07']", [F, N, F, T]),
        ("hour(`day-time`)", [23, N, 0, 0]),
        ("weekday(`day-time`)", [3, N, 2, 6]),  # Thursday, Wednesday, Sunday
        ("day(`day-time`)", [5, N, 31, 8]),
        ("number(`day-time`)", [1_772_753_400.0, N, -86_400.0, 1_772_928_000.0]),
    ],
)
def test_values(text, expected):
    assert read(text) == (expected, [False] * 4)


@pytest.mark.parametrize(
    ("text", "expected", "wrong"),
    [
        ("s > 30", [T, F, N, N], [F, F, F, T]),
        ("s in [31, 4]", [T, F, N, N], [F, F, F, T]),
        ("s == '31'", [T, F, N, F], [F, F, F, F]),
        ("s == a", [F, F, N, N], [F, F, F, T]),
        ("number(s)", [31.0, 5.0, N, N], [F, F, F, T]),
        ("round(f)", [2.0, N, -2.0, N], [F, F, F, F]),
        ("yes and b != 2", [T, F, N, N], [F, F, T, F]),
        ("not (b - 2)", [N, T, F, N], [T, F, F, T]),
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
    assert read(text) == (expected, wrong)


def test_a_column_alone_is_taken_as_it_is():
    assert read("items") == (FRAME["items"].to_list(), [False] * 4)
    name = of_column("day-time")
    assert name.read(FRAME)[0].to_list() == FRAME["day-time"].to_list()
    assert (name.column, parse("a + a", "x").column) == ("day-time", "")
    assert parse("b * a + b", "x").columns == ("b", "a")


def test_values_read_as_the_type_that_is_needed():
    assert read("s", "number") == ([31.0, 5.0, N, N], [F, F, F, T])
    assert read("yes", "truth") == ([T, F, N, N], [F, F, T, F])
    assert read("truth", "truth") == ([T, F, N, T], [F, F, F, F])
    assert read("a > 0", "number") == ([1, 0, N, 1], [F, F, F, F])


def test_the_time_column_has_a_unit_others_have_none():
    hour = parse("hour(t)", "x", "t").timed("t", "ms")
    assert hour.read(FRAME.head(1))[0].to_list() == [12]  # 1970-01-21 12:25:53


def test_an_empty_frame_gives_no_rows():
    assert read("s > 30 and hour(said) == 3", frame=FRAME.clear()) == ([], [])


NAMES = "ﬁ fi é e\u0301 x² class from lambda None print __import__ AND _ true and"


def test_names_and_texts_are_as_they_are_written():
    names = NAMES.split()
    frame = pl.DataFrame({name: [i, -1] for i, name in enumerate(names)})
    for i, name in enumerate(names):
        assert read(f"`{name}` + 0", frame=frame)[0] == [i, -1], name
        assert parse(parse(f"`{name}`/1", "x").meaning, "x").columns == (name,)
        if name not in ("e\u0301", "true", "and"):
            assert read(f"{name}+0", frame=frame)[0] == [i, -1], name
    texts = ["C:\\new", "it's", 'a "b"', "\\", "#", "`x`", "ﬁ", "a\nb", "not in [1]", ""]
    frame = pl.DataFrame({"s": texts})
    for text in texts:
        quoted = f'"{text}"' if "'" in text else f"'{text}'"
        assert read(f"s == {quoted}", frame=frame)[0] == [other == text for other in texts]
    assert read("b==007 or b==.4e+1")[0] == [F, F, F, T]


SAME = [  # ways to write one expression
    ("a>1", "a  >\n 1", "(a > (1))", "`a` > +1", "a > --1", "a > 001"),
    ("a == 'x'", 'a == "x"'),
    ("a not in [1, -2]", "not a in [1,- 2]", "not (a in [(1), -(2)])"),
    ("a and True", "a and true"),
    ("-a", "-+a"),
    ("a in [-2.5]", "a in [--+- 2.50]"),
]
OTHERS = "a; `a b`; a - (b - 1); a - b - 1; (a - b) / 1; a == 1; a == true; a == '1'; a == 1.0; "
OTHERS += "0 < a < 1; (0 < a) < 1; not a == 1; (not a) == 1; `true` == 1; `True` == 1"


def test_each_expression_has_one_meaning():
    meanings = [{parse(text, "x").meaning for text in texts} for texts in SAME]
    assert [len(each) for each in meanings] == [1] * len(SAME)
    meanings += [{parse(text, "x").meaning} for text in OTHERS.split("; ")]
    assert len(set.union(*meanings)) == len(meanings) == len(SAME) + 15


def test_deep_expressions_of_fractions_take_no_time():
    """Each part is computed once: what is finite is asked of 2 ** 40 parts otherwise."""
    assert read("+".join("x" * 40), frame=pl.DataFrame({"x": [0.5]})) == ([20.0], [F])
    assert read("log(" * 40 + "x" + ")" * 40, frame=pl.DataFrame({"x": [0.5]})) == ([N], [F])


# Texts that are no expressions, expressions that do not fit the columns, and attempts to re.


WHERE = "shop.yaml, line 12: label"
COLUMNS = {
    "a": pl.Int64(),
    "s": pl.String(),
    "words": pl.String(),
    "items": pl.List(pl.Int64()),
    "t": pl.Datetime("us"),
    "epoch": pl.Int64(),
    "item-id": pl.Int64(),
    "watch_seconds": pl.Float64(),
}


def refused(text, **time):
    with pytest.raises(UserError) as caught:
        check(parse(text, WHERE, **time), COLUMNS, WHERE)
    message = str(caught.value)
    assert message.startswith(f"{WHERE} {text[:70]!r}"[:-1])
    return message


BAD = [  # (a text that is no expression, what the message says of it and where)
    ("", "it breaks off"),
    ("a >", "it breaks off"),
    ("a b", "its last word stands in the wrong place"),
    ("a + * 2", "'* 2' at character 5 is not understood"),
    ("a = 1", "'= 1' at character 3 is not understood; expected '=='"),
    ("!a", "expected 'not'"),
    ("'open", '"\'open" at character 1 is not understood'),
    ("1_000 < a", "'1_000 < a' at character 1 is not understood"),
    ("1e999 < a", "the number 1e999 is too large"),
    ("a in []", "'[]' at character 6 is not understood; 'in' takes numbers or texts"),
    ("a in [1, s]", "'[1, s]' at character 6 is not understood; 'in' takes numbers or texts"),
    ("3 + 4", "it reads no column"),
    ("lenght(items)", "unknown function 'lenght'. Did you mean 'length'?"),
    ("min(a)", "min() takes 2 to 20 values, got 1"),
    ("-" * 999 + "a", "more than 50 operations deep"),
    ("a" * 1001, "it has 1001 characters, expected at most 1000"),
    # types that cannot work
    ("watch_secnds > 30", "unknown column 'watch_secnds'. Did you mean 'watch_seconds'?"),
    ("item-id", "write `item-id`, in backquotes"),
    ("log(t)", "t is a time, expected a number; number(…) of a time is seconds since 1970"),
    ("a in ['red']", "'red' is a text, expected a number"),
    ("a == 'inf'", "'inf' is a text, expected a number"),
    ("s in [1, 'red']", "the list after 'in' mixes a number and a text"),
    ("s < words", "compare number(s) with number(words)"),
    ("hour(a)", "a is a number whose time unit is not known"),
    ("t > 'soon'", "expected a time such as 2026-03-05"),
    ("a == 0 or 1", "1 is a number, expected true or false"),
    ("log(a > s) + log(items)", "items is a list"),
]


@pytest.mark.parametrize(("text", "part"), BAD)
def test_no_expression(text, part):
    assert part in refused(text)


def test_a_time_column_of_plain_numbers_has_no_hours():
    assert "epoch holds plain numbers, not times" in refused(
        "hour(epoch)", time="epoch", unit="number"
    )
    check(parse("epoch > '5'", WHERE, "epoch", "number"), COLUMNS, WHERE)
    check(parse("hour(epoch)", WHERE, "epoch", "s"), COLUMNS, WHERE)


def test_a_column_of_any_type_may_stand_alone_unless_a_type_is_needed():
    check(parse("items", WHERE), COLUMNS, WHERE)
    with pytest.raises(UserError, match=r"^label of 'items': items is a list, expected a number$"):
        check(parse("items", WHERE), COLUMNS, "label of 'items'", "number")
    check(parse("s", WHERE), COLUMNS, WHERE, "truth")


PYTHON = """\
__class__(a)
a.__class__
__import__('os').system('true')
[a for a in s]
f'{a.__class__}' == s
(a := 1)
min(**a)
a if s else t
min(a, s, **t)
b'a' == s
a, s
log(a)(s)
a[s]
*a
min(*a, s)
a #
a is s
"""


def test_nothing_of_python_is_reached():
    for text in (*PYTHON.splitlines(), "a\nimport os"):
        refused(text)
