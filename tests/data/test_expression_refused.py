"""Texts that are no expressions, expressions that do not fit the columns, and attempts to reach
Python: each a message with its place."""

import polars as pl
import pytest

from dtn_jax.data.formula import check, parse
from dtn_jax.errors import UserError

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
