"""The types of raw columns: their names, and what becomes of columns that have several.

A column has one of NAMES, or lists of one. A set's schema.json keeps these names; the values of
JSON are of a *kind* each, which is such a name, `long` (a whole number that a float may round), or
`nested` (an object, or a list in a list).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

Type = Any  # a polars type; beartype cannot name polars' DataType
Types = Mapping[str, Type]  # {column: its type}
Kinds = set[str]
UTC = pl.Datetime("us")
NAMES: dict[str, Type] = {
    "truth": pl.Boolean,
    "whole": pl.Int64,
    "unsigned": pl.UInt64,
    "float32": pl.Float32,
    "number": pl.Float64,
    "text": pl.String,
    "date": pl.Date,
    "time": UTC,
    "nothing": pl.Null,
}
LIST_OF, LONG, NESTED = "list of ", "long", "nested"
WIDER = (  # types that go together, and the one that they become
    ((pl.Float32, pl.Float64), pl.Float64),
    ((pl.Date, pl.Datetime), UTC),
    ((pl.Boolean, pl.Int64), pl.Int64),
)
EXACT = 2.0**53  # below, a float's whole numbers are exact
TRUTHS = {"true": True, "True": True, "TRUE": True, "1": True}
TRUTHS |= {"false": False, "False": False, "FALSE": False, "0": False}


def name_of(kind: Type) -> str:
    """A type's name in schema.json: one of NAMES, or `list of` one."""
    if kind == pl.List:
        return LIST_OF + name_of(kind.inner)
    return next(name for name, known in NAMES.items() if known == kind)


def of_name(name: str) -> Type:
    """The type that `name_of` named."""
    inner = name.removeprefix(LIST_OF)
    return NAMES[inner] if inner == name else pl.List(of_name(inner))


def plain(kind: Type) -> Type:
    """The type that a column of one file is read as: one of NAMES, or a list of such."""
    if kind == pl.List:
        return pl.List(plain(kind.inner))
    if kind.is_integer():
        return pl.UInt64 if kind == pl.UInt64 else pl.Int64
    if kind == pl.Datetime:
        return UTC
    known = (pl.Boolean, pl.Float32, pl.Float64, pl.Date, pl.Null, pl.Struct)
    return kind if kind in known else pl.String


def common(one: Type, other: Type) -> Type:
    """The type of a column that files have as two types."""
    if one == other or other == pl.Null:
        return one
    if one == pl.Null:
        return other
    if pl.List in (one, other) or pl.Struct in (one, other):
        both = one == pl.List and other == pl.List
        return pl.List(common(one.inner, other.inner)) if both else pl.Struct([])
    return next((wide for kinds, wide in WIDER if one in kinds and other in kinds), pl.String)


def of_kinds(kinds: Iterable[str]) -> Type:
    """The type of a column of JSON with values of these kinds; it loses none of them."""
    kinds = set(kinds)
    inner = {kind.removeprefix(LIST_OF) for kind in kinds}
    if inner == {NESTED}:
        return pl.Struct([])
    inner -= {"nothing", NESTED}
    if inner == {"whole", "number"}:
        kind = pl.Float64
    elif inner and inner <= {"whole", LONG}:
        kind = pl.Int64
    else:
        kind = pl.String if len(inner) > 1 else NAMES[min(inner, default="nothing")]
    return pl.List(kind) if is_listed(kinds) else kind()


def is_listed(kinds: Iterable[str]) -> bool:
    """Whether some of the values are lists."""
    return any(kind.startswith(LIST_OF) for kind in kinds)


def as_type(column: pl.Series, kind: Type) -> pl.Series:
    """A column in another type; null where a value has none."""
    if column.dtype == pl.Datetime and column.dtype.time_zone:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if kind == pl.String:
        text = pl.select(_text(pl.lit(column), column.dtype)).to_series()
        return text.alias(column.name)
    if kind == pl.List and kind.inner == pl.String and column.dtype == pl.List:
        return column.list.eval(_text(pl.element(), column.dtype.inner))
    if kind == pl.Boolean and column.dtype == pl.String:
        return column.replace_strict(TRUTHS, default=None, return_dtype=pl.Boolean)
    if kind == pl.List and kind.inner == pl.Boolean:
        truths = pl.element().replace_strict(TRUTHS, default=None, return_dtype=pl.Boolean)
        return column.list.eval(truths)
    return column.cast(kind, strict=False)


def _text(values: pl.Expr, dtype: Type) -> pl.Expr:
    """One text for one value: NaN has none, a whole float no fraction, a time no fraction of 0."""
    if dtype.is_float():
        whole = (values == values.floor()) & (values.abs() < EXACT)
        number = values.cast(pl.Int64, strict=False).cast(pl.String)
        return pl.when(whole).then(number).otherwise(values.fill_nan(None).cast(pl.String))
    text = values.cast(pl.String, strict=False)
    return text.str.replace(r"\.0+$", "") if dtype == pl.Datetime else text
