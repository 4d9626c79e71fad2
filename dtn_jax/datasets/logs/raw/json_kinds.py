"""What kinds of values a column of JSON has, and the type that follows from them.

Kinds are `truth`, `whole`, `long` (whole numbers that a float may round), `number`, `text`,
`nothing` and `nested`, and each of them in lists.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

NOT_SCALAR = "a list where a single value is expected"
NOT_LIST = "a single value where a list is expected"
NESTED = "an object or a list of lists"
LIST, OBJECT, NULL, TEXT = "ARRAY", "OBJECT", "NULL", "VARCHAR"  # DuckDB's names of types
IN_LIST = "list of "
LONG, EXACT = "long", 2**53  # up to here a float holds every whole number
NAMES = {TEXT: "text", "DOUBLE": "number", "BOOLEAN": "truth", LIST: "nested", OBJECT: "nested"}
TYPES = {"truth": pl.Boolean, "whole": pl.Int64, LONG: pl.Int64, "number": pl.Float64}
TRUTHS = {"true": True, "false": False}
Kinds = set[str]


def kinds_of(values: pa.Array, types: pa.Array) -> Kinds:
    """The kinds of values, which are texts, by DuckDB's types of them."""
    found = {NAMES.get(name, "whole") for name in pc.unique(types).to_pylist() if name}
    found -= {"whole"} if not {*pc.unique(types).to_pylist()} - {*NAMES, NULL, None} else set()
    if "number" in found:
        numbers = values.filter(pc.equal(types, "DOUBLE"))
        if pc.any(pc.match_substring_regex(numbers, r"^-?[0-9]+$")).as_py():  # beyond 64 bits
            found.add("text")
    if "whole" in found:
        known = pc.is_in(types, pa.array([*NAMES, NULL], types.type))
        whole = pl.Series(values.filter(pc.invert(known).fill_null(False)))
        numbers = whole.cast(pl.Int64, strict=False)
        if numbers.null_count() > whole.null_count():  # beyond 64 bits
            found = found - {"whole"} | {"text"}
        elif (numbers.cast(pl.Float64).abs().max() or 0) >= EXACT:
            found = found - {"whole"} | {LONG}
    return found


def in_lists(kinds: Kinds) -> Kinds:
    """Those of the values of lists."""
    return {f"{IN_LIST}{kind}" for kind in kinds or {"nothing"}}


def is_listed(kinds: Iterable[str]) -> bool:
    return any(kind.startswith(IN_LIST) for kind in kinds)


def is_nested(kinds: Kinds) -> bool:
    """Whether all values are objects or lists of lists."""
    return {kind.removeprefix(IN_LIST) for kind in kinds} == {"nested"}


def of_kinds(kinds: Iterable[str]) -> object:
    """The type of a column with values of these kinds; it loses none of them."""
    kinds = set(kinds)
    if is_nested(kinds):
        return pl.Struct([])
    inner = {kind.removeprefix(IN_LIST) for kind in kinds} - {"nothing", "nested"}
    if is_listed(kinds):
        return pl.List(of_kinds(inner))
    if not inner:
        return pl.Null()
    if inner <= {LONG, "whole"}:
        return pl.Int64()
    if inner == {"whole", "number"}:
        return pl.Float64()
    return TYPES.get(*inner, pl.String)() if len(inner) == 1 else pl.String()


def as_type(column: pl.Series, kind: object) -> pl.Series:
    """A column of texts, or of lists of texts, in a type; null where a value has none."""
    if kind == pl.Boolean and column.dtype == pl.String:
        return column.replace_strict(TRUTHS, default=None, return_dtype=pl.Boolean)
    if kind == pl.List and kind.inner == pl.Boolean:
        truths = pl.element().replace_strict(TRUTHS, default=None, return_dtype=pl.Boolean)
        return column.list.eval(truths)
    return column.cast(kind, strict=False)
