"""Parts of an expression with their types, and how one type is read as another.

A value that is there but cannot be read as the expression needs it (a text that is no number, an
infinite number) is missing in the result, and *wrong*: the engine rejects its row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import polars as pl

from dtn_jax.datasets.logs.formula import times
from dtn_jax.datasets.logs.formula.times import Type
from dtn_jax.errors import UserError

NUMBER, TEXT, TRUTH, TIME = "a number", "a text", "true or false", "a time"
LIST, NOTHING, OTHER = "a list", "nothing", "another type"
TRUTHS = {"true": True, "false": False, "1": True, "0": False}  # in texts, small or large letters


@dataclasses.dataclass(frozen=True)
class Typed:
    """A part of an expression.

    Attributes:
      kind: the type of its values, one of the words above; NOTHING where all are missing.
      expr: numbers as Int64, Int128 or Float64, times as Int64 microseconds.
      text: the part as it was written, for messages.
      whole: numbers that are whole by their type.
      literal: the value of a literal, else None.
      unit: of a column of times, however they are stored; '' of all others.
      wrong: where a value is wrong; true, false or null.
    """

    kind: str
    expr: pl.Expr
    text: str
    whole: bool = False
    literal: Any = None
    unit: str = ""
    wrong: tuple[pl.Expr, ...] = ()

    def read_as(self, kind: str, expr: pl.Expr, **changes: Any) -> Typed:
        """The same part of another type; what is there and not in `expr` is wrong."""
        lost = self.expr.is_not_null() & expr.is_null()
        made = dataclasses.replace(self, kind=kind, expr=expr, literal=None, **changes)
        return dataclasses.replace(made, wrong=(*self.wrong, lost))

    def refuse(self, wanted: str) -> UserError:
        return UserError(f"{self.text} is {self.kind}, expected {wanted}")


def column(name: str, text: str, kind: Type, unit: str = "") -> Typed:
    """A column of the type `kind`; `unit` where it is the log's time column."""
    raw = pl.col(name)
    if isinstance(kind, pl.datatypes.DataTypeClass):
        kind = kind()
    if times.is_date(kind):
        return Typed(TIME, raw.cast(pl.Datetime("us")).to_physical(), text, unit="date")
    if times.is_text(kind):
        return Typed(TEXT, raw.cast(pl.String), text, unit=unit)
    if kind.is_integer():
        wide = pl.Int128 if kind in (pl.UInt64, pl.Int128) else pl.Int64
        return Typed(NUMBER, raw.cast(wide), text, whole=True, unit=unit)
    if kind.is_float() or kind.is_decimal():
        number = raw.cast(pl.Float64).fill_nan(None)  # NaN is a missing value, not a wrong one
        return Typed(NUMBER, number, text, unit=unit).read_as(NUMBER, finite(number))
    if kind == pl.Array:
        raw = raw.arr.to_list()
    kinds = {pl.Boolean: TRUTH, pl.List: LIST, pl.Array: LIST, pl.Null: NOTHING}
    return Typed(kinds.get(kind.base_type(), OTHER), raw, text)


def literal(value: Any, text: str) -> Typed:
    kinds = {bool: TRUTH, str: TEXT, int: NUMBER, float: NUMBER}
    kind = kinds[type(value)]
    whole = type(value) is int
    expr = pl.lit(value, dtype=pl.Int64) if whole else pl.lit(value)
    return Typed(kind, expr, text, whole=whole, literal=value)


def finite(number: pl.Expr) -> pl.Expr:
    return pl.when(number.is_finite()).then(number)


def as_number(part: Typed) -> Typed:
    """Also of texts such as '31', and of false and true as 0 and 1."""
    if part.kind == NUMBER:
        return part
    if part.kind == TEXT and part.literal is None:
        read = part.expr.str.strip_chars().cast(pl.Float64, strict=False)
        return part.read_as(NUMBER, finite(read), whole=False)
    if part.kind == TEXT:
        number = pl.Series([part.literal.strip()]).cast(pl.Float64, strict=False)[0]
        if number is None or number in (float("inf"), -float("inf")) or number != number:
            raise part.refuse("a number")
        return literal(number, part.text)
    if part.kind in (TRUTH, NOTHING):
        return dataclasses.replace(
            part, kind=NUMBER, expr=part.expr.cast(pl.Int64), whole=True, literal=None
        )
    hint = "; number(…) of a time is seconds since 1970" if part.kind == TIME else ""
    raise UserError(f"{part.text} is {part.kind}, expected a number{hint}")


def as_truth(part: Typed) -> Typed:
    """Also of the numbers 0 and 1, and of the texts 'true', 'false', '0' and '1'."""
    if part.kind == TRUTH:
        return part
    if part.kind == NOTHING:
        return dataclasses.replace(part, kind=TRUTH, expr=part.expr.cast(pl.Boolean))
    if part.kind == NUMBER and part.literal is None:
        return part.read_as(
            TRUTH, pl.when((part.expr == 0) | (part.expr == 1)).then(part.expr == 1)
        )
    if part.kind == TEXT and part.literal is None:
        word = part.expr.str.strip_chars().str.to_lowercase()
        read = word.replace_strict(TRUTHS, default=None, return_dtype=pl.Boolean)
        return part.read_as(TRUTH, read)
    raise part.refuse("true or false")


def as_text(part: Typed) -> Typed:
    if part.kind == TEXT:
        return part
    if part.kind not in (NUMBER, TRUTH, NOTHING):
        raise part.refuse("a text")
    return dataclasses.replace(part, kind=TEXT, expr=part.expr.cast(pl.String), literal=None)


def as_time(part: Typed) -> Typed:
    """Also of texts in ISO 8601, and of the log's time column in its unit."""
    if part.kind == TIME:
        return part
    if part.kind == TEXT and part.literal is not None:
        value = times.read(part.literal, "date")
        return Typed(TIME, pl.lit(value, dtype=pl.Int64), part.text)
    if part.kind == NOTHING:
        return dataclasses.replace(part, kind=TIME, expr=part.expr.cast(pl.Int64))
    if part.kind not in (NUMBER, TEXT):
        raise part.refuse("a time")
    if part.unit == "number":
        raise UserError(f"{part.text} holds plain numbers, not times")
    unit = part.unit or ("date" if part.kind == TEXT else "")
    if not unit:
        raise UserError(
            f"{part.text} is a number whose time unit is not known: only the log's time column "
            "has one (time: {column: …, unit: …})"
        )
    kind = pl.String() if part.kind == TEXT else pl.Int64() if part.whole else pl.Float64()
    return part.read_as(TIME, times.as_time(part.expr, kind, unit), unit="date")


READ_AS: dict[str, Callable[[Typed], Typed]] = {
    NUMBER: as_number,
    TRUTH: as_truth,
    TEXT: as_text,
    TIME: as_time,
}
