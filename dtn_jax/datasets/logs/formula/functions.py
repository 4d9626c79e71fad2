"""The functions that an expression may call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import polars as pl

from dtn_jax.datasets.logs.formula.typed import (
    LIST,
    NUMBER,
    TEXT,
    TIME,
    TRUTH,
    Typed,
    as_number,
    as_text,
    as_time,
    finite,
)


@dataclasses.dataclass(frozen=True)
class Function:
    """A function.

    Attributes:
      help: what it gives, in a line.
      made: its value.
      least, most: how many arguments it takes.
    """

    help: str
    made: Callable[..., Typed]
    least: int = 1
    most: int = 1


def result(kind: str, expr: pl.Expr, *parts: Typed, whole: bool = False) -> Typed:
    """A part that is made of `parts`; it is wrong where one of them is."""
    text = ", ".join(part.text for part in parts)
    wrong = tuple(w for part in parts for w in part.wrong)
    return Typed(kind, expr, text, whole=whole, wrong=wrong)


def of_number(change: Callable[[pl.Expr], pl.Expr]) -> Callable[[Typed], Typed]:
    """A function from numbers to numbers; what is not finite is missing."""

    def made(x: Typed) -> Typed:
        x = as_number(x)
        return result(NUMBER, finite(change(x.expr.cast(pl.Float64))), x)

    return made


def of_whole(change: Callable[[pl.Expr], pl.Expr]) -> Callable[[Typed], Typed]:
    """As `of_number`, of a function that keeps whole numbers whole."""

    def made(x: Typed) -> Typed:
        x = as_number(x)
        return result(NUMBER, change(x.expr), x, whole=x.whole)

    return made


def of_time(change: Callable[[pl.Expr], pl.Expr]) -> Callable[[Typed], Typed]:
    def made(x: Typed) -> Typed:
        x = as_time(x)
        return result(NUMBER, change(x.expr.cast(pl.Datetime("us"))).cast(pl.Int64), x, whole=True)

    return made


def of_several(choose: Callable[[list[pl.Expr]], pl.Expr]) -> Callable[..., Typed]:
    def made(*parts: Typed) -> Typed:
        read = [as_number(part) for part in parts]
        there = pl.all_horizontal(part.expr.is_not_null() for part in read)
        found = pl.when(there).then(choose([part.expr for part in read]))
        return result(NUMBER, found, *read, whole=all(part.whole for part in read))

    return made


def missing(x: Typed) -> Typed:
    return result(TRUTH, x.expr.is_null(), x)


def length(x: Typed) -> Typed:
    if x.kind != LIST:
        raise x.refuse("a list")
    return result(NUMBER, x.expr.list.len().cast(pl.Int64), x, whole=True)


def lower(x: Typed) -> Typed:
    if x.kind != TEXT:
        raise x.refuse("a text")
    return result(TEXT, x.expr.str.to_lowercase(), x)


def text(x: Typed) -> Typed:
    return result(TEXT, as_text(x).expr, x)


def number(x: Typed) -> Typed:
    if x.kind == TIME:
        return result(NUMBER, x.expr / 1_000_000, x)
    return as_number(x)


FUNCTIONS = {
    "log": Function("natural logarithm; missing where x <= 0", of_number(lambda x: x.log())),
    "log1p": Function("log(1 + x); missing where x <= -1", of_number(lambda x: x.log1p())),
    "sqrt": Function("square root; missing where x < 0", of_number(lambda x: x.sqrt())),
    "abs": Function("without the sign", of_whole(lambda x: x.abs())),
    "round": Function(
        "the nearest whole number; of two, the even one",
        of_whole(lambda x: x.round(mode="half_to_even")),
    ),
    "min": Function("the least of several numbers", of_several(pl.min_horizontal), 2, 20),
    "max": Function("the greatest of several numbers", of_several(pl.max_horizontal), 2, 20),
    "missing": Function("true where there is no value", missing),
    "length": Function("how many values a list holds", length),
    "hour": Function("hour of a time in UTC, 0 to 23", of_time(lambda t: t.dt.hour())),
    "weekday": Function(
        "weekday of a time in UTC, 0 (Monday) to 6", of_time(lambda t: t.dt.weekday() - 1)
    ),
    "day": Function("day of the month of a time in UTC, 1 to 31", of_time(lambda t: t.dt.day())),
    "lower": Function("a text in small letters", lower),
    "text": Function("a number as a text", text),
    "number": Function("a text as a number; a time as seconds since 1970", number),
}
