"""Random expressions against an interpreter that walks the same text in plain Python."""

import itertools
import math
import random

import polars as pl
import pytest

from dtn_jax.datasets.logs.formula.expression import check, parse

ROWS = 40
NUMBERS = ("a", "b", "x")


def rows(draw):
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


@pytest.mark.parametrize("seed", range(120))
@pytest.mark.parametrize("kind", ["number", "truth"])
def test_random_expressions(kind, seed):
    draw = random.Random(f"{kind} {seed}")
    table = rows(draw)
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
