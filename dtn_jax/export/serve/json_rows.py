"""A JSON body to a table of the model's columns.

    {"rows": [{"user": 7, "item": 31, "price": 9.5}, …]}
    {"user": {"user": 7}, "candidates": [{"item": 31, "price": 9.5}, …]}

and in both "outputs": ["click@all", …], if not all are wanted. A column's values are read together.
Every row has every column that the model needs; null is a missing value.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Sequence
from typing import no_type_check

import numpy as np
import polars as pl

from dtn_jax.datasets.logs.raw import json_types
from dtn_jax.datasets.logs.raw.json_types import Kinds
from dtn_jax.export.serve.asked import Asked, Column, Type
from dtn_jax.export.serve.json_text import parse, written
from dtn_jax.export.serve.limits import TEXT, Limits
from dtn_jax.export.serve.reading import Reading
from dtn_jax.export.serve.refused import Refused, bad_value, shown

FORM = '{"rows": [{…}, …]} or {"user": {…}, "candidates": [{…}, …]}'
TYPES = {  # of columns whose values are all of one of Python's types, or missing
    str: pl.String(),
    int: pl.Int64(),
    float: pl.Float64(),
    bool: pl.Boolean(),
    None: pl.Null(),
}
SMALL_ROWS, SMALL_BYTES = 32, 64 << 10  # a request whose values stay Python's until a call is made
SHORT = TEXT // 4  # characters that are never too many bytes
INFINITE, FINITE = float("inf"), "a number that a 64-bit float holds"
IGNORED = 20  # names that are told at most


@dataclasses.dataclass
class Unfit(Exception):
    """A value that its column cannot hold.

    Attributes:
      column: whose value it is.
      value: as it was parsed.
      expected: what should be there.
      at: its row, counted from 0; None of the user's.
    """

    column: str
    value: object
    expected: str
    at: int | None

    def told(self, body: bytes, what: str) -> Refused:
        """How it is refused; `what` names the body's rows."""
        place = ("user",) if self.at is None else (f"{what}s", self.at)
        got = written(body, (*place, self.column), self.value)
        if self.at is None:
            return bad_value("user", self.column, got, self.expected)
        row = self.at + 1
        return bad_value(f"{what} {row}", self.column, got, self.expected, row)


def read(body: bytes, reading: Reading, limits: Limits, outputs: object = None) -> Asked:
    """What a body asks for.

    Args:
      body: JSON in UTF-8.
      reading: of the model.
      limits: of a request.
      outputs: what the request's address names, where the body names none.

    Raises:
      Refused: 400 where it is not JSON, 413 of too many rows, 422 of wrong ones.
    """
    found = parse(body)
    if not isinstance(found, dict):
        raise Refused(422, f"the body is {kind_of(found)}, expected an object: {FORM}")
    others = found.keys() - {"rows", "user", "candidates", "outputs"}
    if others:
        raise Refused(422, f"the body has {shown(repr(min(others)))}, expected {FORM}")
    chosen = reading.chosen(found.get("outputs", outputs))
    if ("rows" in found) == ("candidates" in found) or ("user" in found) != ("candidates" in found):
        raise Refused(422, f"the body has {', '.join(found) or 'nothing'}; expected {FORM}")
    what = "row" if "rows" in found else "candidate"
    rows, user = found.get("rows", found.get("candidates")), found.get("user", {})
    if not isinstance(rows, list):
        raise Refused(422, f"{what}s: got {kind_of(rows)}, expected a list of objects")
    if not isinstance(user, dict):
        raise Refused(422, f"user: got {kind_of(user)}, expected an object of the user's fields")
    if len(rows) > limits.rows:
        raise Refused(413, f"{len(rows):,} {what}s, at most {limits.rows:,} are scored at once")
    if set(map(type, rows)) - {dict}:
        at = next(n for n, row in enumerate(rows, 1) if type(row) is not dict)
        raise bad_value(f"{what} {at}", "", kind_of(rows[at - 1]), "an object", at)
    there, read = set().union(*rows), set(reading.columns)
    both = there & user.keys() & read
    if both:
        raise Refused(422, f"{min(both)!r} is a field of the user and of candidates, expected one")
    small = len(body) <= SMALL_BYTES and len(rows) <= SMALL_ROWS
    odd = b"\\ud" in body or b"\\uD" in body
    try:
        columns, types = _columns(rows, user, reading, what, odd, small)
    except Unfit as error:
        raise error.told(body, what) from None
    if not small:
        _check_spread(columns, len(rows), limits)
    ignored = tuple(sorted((there | user.keys()) - read)[:IGNORED])
    shared = frozenset(user) & read
    return Asked(len(rows), columns, types, chosen, ignored, what, shared)


def kind_of(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")


def _columns(
    rows: list, user: dict, reading: Reading, what: str, odd: bool, small: bool
) -> tuple[dict[str, Column], tuple]:
    """Each column and its type; of a request that is not small, the user's have one value."""
    found, types = {}, []
    for name in reading.columns:
        if name in user:
            values, where = [user[name]], "user"
        else:
            values, where = _values(rows, name, name in reading.optional, what), what
        column, type = _column(name, values, where, reading.expected[name], odd, small)
        if where == "user" and small:
            one = isinstance(column, list)
            column = values * len(rows) if one else column.new_from_index(0, len(rows))
        found[name] = column
        types.append(type)
    return found, tuple(types)


def _values(rows: list, name: str, optional: bool, what: str) -> list:
    try:
        return list(map(operator.itemgetter(name), rows))
    except KeyError:
        if optional:
            return [row.get(name) for row in rows]
    at = next(n for n, row in enumerate(rows, 1) if name not in row)
    told = {"row": at, "column": name, "got": None, "expected": "the column, or null"}
    lacks = f"row {at} has no column" if what == "row" else f"neither user nor {what} {at} has"
    raise Refused(
        422,
        f"{lacks} {name!r}, which the model needs; null is a missing value. "
        f"GET /schema lists the columns",
        told,
    )


def _column(
    name: str, values: list, where: str, expected: str, odd: bool, small: bool
) -> tuple[Column, Type]:
    """The values in the type that `raw_rows.table` would give them, and that type."""
    types = set(map(type, values)) - {type(None)}
    quick = types == {str} and not odd and max(map(len, filter(None, values)), default=0) <= SHORT
    if types & {str, list} and not quick:
        _check(values, _is_short, name, where, f"a text of at most {TEXT:,} bytes in Unicode")
    kind = next(iter(types), None)
    plain = len(types) < 2 and kind in TYPES and not (kind is int and _large(values))
    if plain and small:
        if kind is float and (INFINITE in values or -INFINITE in values):
            _check(values, _is_finite, name, where, FINITE)
        return values, TYPES[kind]
    if plain:
        found, finite = pl.Series(name, values, dtype=TYPES[kind]), True
    else:
        kinds, every = Kinds.expected(values), Kinds.of(values)
        if json_types.may_misfit(every, kinds) or types & {dict}:
            _check(values, lambda v: not json_types.misfit(v, kinds), name, where, expected)
        found = json_types.series(values, kinds).alias(name)
        finite = float not in every.scalars | every.items  # as text it would be a value
    if not finite or not _all_finite(found):
        _check(values, _is_finite, name, where, FINITE)
    return found, found.dtype


def _large(values: list) -> bool:
    """Whether a whole number does not fit 64 bits."""
    there = [v for v in values if v is not None]
    return max(there) >= 1 << 63 or min(there) < -(1 << 63)


def _check(values: Sequence, fits, name: str, where: str, expected: str) -> None:
    """Raises Unfit of the first value that does not fit."""
    for at, value in enumerate(values):
        if not fits(value):
            raise Unfit(name, value, expected, None if where == "user" else at)


@no_type_check  # called for every value
def _is_short(value):
    """Whether a text has no half of a surrogate pair, and is no longer than may be hashed."""
    if type(value) is list:
        return all(map(_is_short, value))
    try:
        return type(value) is not str or len(value.encode()) <= TEXT
    except UnicodeEncodeError:
        return False


def _all_finite(column: pl.Series) -> bool:
    """Whether no number is infinite, as 1e999 is."""
    if isinstance(column.dtype, pl.List):
        column = column.explode()
    return column.dtype != pl.Float64 or not np.isinf(column.to_numpy()).any()


def _is_finite(value: object) -> bool:
    items = value if type(value) is list else [value]
    return not any(type(item) is float and np.isinf(item) for item in items)


def _check_spread(columns: dict[str, Column], rows: int, limits: Limits) -> None:
    """Refuses values that would take too much memory once they are in all rows."""
    once = [c for c in columns.values() if len(c) != rows]
    size = sum(column.estimated_size() for column in once) * rows
    if size > limits.spread_bytes:
        raise Refused(
            413,
            f"the user's fields for {rows:,} candidates are {size:,} bytes, at most "
            f"{limits.spread_bytes:,} are scored at once: send fewer candidates",
        )
