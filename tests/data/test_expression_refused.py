"""Texts that are no expressions, expressions that do not fit the columns, and attempts to reach
Python: each a message with its place."""

import polars as pl
import pytest

from dtn_jax.datasets.logs.formula import expression
from dtn_jax.datasets.logs.formula.expression import check, parse
from dtn_jax.errors import UserError

WHERE = "shop.yaml, line 12: label"
COLUMNS = {
    "a": pl.Int64(),
    "s": pl.String(),
    "words": pl.String(),
    "items": pl.List(pl.Int64()),
    "t": pl.Datetime("us"),
    "epoch": pl.Int64(),
    "raw": pl.Binary(),
    "item-id": pl.Int64(),
    "watch_seconds": pl.Float64(),
}


def refused(text, **time):
    with pytest.raises(UserError) as caught:
        check(parse(text, WHERE, **time), COLUMNS, WHERE)
    message = str(caught.value)
    assert message.startswith(f"{WHERE} {text[:70]!r}"[:-1])
    return message


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "expected a column, a number, a 'text' or a function, got its end"),
        ("a >", "got its end"),
        ("a b", "expected an operator such as '+', '>' or 'and', got 'b' at character 3"),
        ("a + * 2", "got '*' at character 5"),
        ("(a", "expected ')', got its end"),
        ("a)", "got ')' at character 2"),
        ("a = 1", "'= 1' at character 3 is not understood; expected '=='"),
        ("a && s", "expected 'and'"),
        ("a || s", "expected 'or'"),
        ("!a", "expected 'not' or '!='"),
        ("'open", "expected a second ' at the end of the text"),
        ('"open', 'expected a second " at the end of the text'),
        ("`open", "expected a second ` at the end of the column's name"),
        ("a.b > 1", "a column's name with a dot in backquotes: `a.b`"),
        ("1_000 < a", "'1_000 < a' at character 1 is not understood"),
        ("0x1F < a", "is not understood"),
        ("1e999 < a", "the number 1e999 is too large"),
        ("12345678901234567890 < a", "too large"),
        ("a in []", "expected a column, a number"),
        ("a in [s]", "expected numbers or texts, got 's' at character 7"),
        ("a in (1, 2)", "expected '[', got '(' at character 6"),
        ("a not 3", "expected 'in', got '3' at character 7"),
        ("and", "got 'and' at character 1"),
        ("3 + 4", "it reads no column"),
        ("'a'", "it reads no column"),
        ("lenght(items)", "unknown function 'lenght'. Did you mean 'length'?"),
        ("log(a, 2)", "log() takes 1 values, got 2"),
        ("min(a)", "min() takes 2 to 20 values, got 1"),
        ("hour()", "got ')' at character 6"),
    ],
)
def test_no_expression(text, part):
    assert part in refused(text)


@pytest.mark.parametrize(
    "text",
    [
        "not " * 200 + "a",
        "-" * 900 + "a",
        "+".join("a" * 400),
        "(" * 10 + "a" + ("+a" * 20 + ")") * 10,
        "log(" * 20 + "a" + "+a" * 40 + ")" * 20,
    ],
)
def test_too_deep(text):
    assert "it is more than 50 operations deep" in refused(text)


@pytest.mark.parametrize("start", ["(", "log(", "not (", "-(", "a and ("])
def test_too_many_brackets(start):
    good = start * 20 + "a" + ")" * 20
    parse(good, WHERE)
    message = refused(start * 21 + "a" + ")" * 21)
    assert "it has more than 20 brackets within each other" in message


def test_too_long():
    assert "it has 1001 characters, expected at most 1000" in refused("a" * 1001)
    assert "it reads" not in refused("b" * 1000)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("watch_secnds > 30", "unknown column 'watch_secnds'. Did you mean 'watch_seconds'?"),
        ("item-id", "For the column of that name write `item-id`, in backquotes."),
        ("log(items)", "items is a list, expected a number"),
        ("log(t)", "t is a time, expected a number; number(…) of a time is seconds since 1970"),
        ("t + 1", "t is a time, expected a number"),
        ("a == 'red'", "'red' is a text, expected a number"),
        ("a in ['red']", "'red' is a text, expected a number"),
        ("a == 'inf'", "'inf' is a text, expected a number"),
        ("s in [1, 'red']", "the list after 'in' mixes a number and a text"),
        ("s < words", "write number(s) < number(words)"),
        ("items == 3", "items is a list, expected a number"),
        ("items and a", "items is a list, expected true or false"),
        ("length(s)", "s is a text, expected a list"),
        ("lower(a)", "a is a number, expected a text"),
        ("text(items)", "items is a list, expected a text"),
        ("hour(a)", "a is a number whose time unit is not known"),
        ("hour(items)", "items is a list, expected a time"),
        ("t > 'soon'", "expected a time such as 2026-03-05"),
        ("t > 3", "3 is a number whose time unit is not known"),
        ("raw == 'x'", "raw is another type, expected a number"),
        ("number(items)", "items is a list, expected a number"),
        ("(a + 1) and 5", "5 is a number, expected true or false"),
        ("log(a > s) + log(items)", "items is a list"),
    ],
)
def test_types_that_cannot_work(text, part):
    assert part in refused(text)


def test_a_time_column_of_plain_numbers_has_no_hours():
    assert "epoch holds plain numbers, not times" in refused(
        "hour(epoch)", time="epoch", unit="number"
    )
    check(parse("hour(epoch)", WHERE, "epoch", "s"), COLUMNS, WHERE)


def test_a_column_of_any_type_may_stand_alone_unless_a_type_is_needed():
    check(parse("items", WHERE), COLUMNS, WHERE)
    with pytest.raises(UserError, match="items is a list, expected a number"):
        check(parse("items", WHERE), COLUMNS, WHERE, "number")
    check(parse("s", WHERE), COLUMNS, WHERE, "truth")


@pytest.mark.parametrize(
    "text",
    [
        "__class__(a)",
        "a.__class__",
        "().__class__.__bases__[0]",
        "__import__('os').system('true')",
        "__import__('os')",
        "eval('a')",
        "exec('a')",
        "open('x')",
        "getattr(a, 'x')",
        "lambda: a",
        "(lambda: a)()",
        "[a for a in s]",
        "{a: 1}",
        "{a}",
        "f'{a}'",
        "f'{a.__class__}' == s",
        "(a := 1)",
        "*a",
        "min(*a)",
        "min(**a)",
        "log(x=a)",
        "a[0]",
        "a['b']",
        "a if s else t",
        "a; s",
        "a\nimport os",
        "a @ s",
        "a ** 9 ** 9",
        "a << 9",
        "await a",
        "yield a",
        "b'a' == s",
        "1j + a",
        "... + a",
        "a, s",
        "`a`(s)",
        "log(a)(s)",
        "a #",
        "a \\",
        "pl.col('a')",
        "a is s",
        "del a",
    ],
)
def test_nothing_of_python_is_reached(text):
    refused(text)


def test_no_name_of_python_is_more_than_a_column():
    for name in ("None", "self", "print", "__builtins__", "pl", "lambda", "class", "import"):
        made = parse(f"{name} + 1", WHERE)
        assert made.over(pl.DataFrame({name: [1]})).to_list() == [2]


def test_no_code_is_made_from_text():
    """The parser's modules call nothing that runs a text."""
    import ast
    import pathlib

    folder = pathlib.Path(expression.__file__).parent
    for path in (folder / "expression.py", *(folder / "formula").glob("*.py")):
        names = {n.id for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Name)}
        assert not names & {"eval", "exec", "compile", "getattr", "__import__"}, path
