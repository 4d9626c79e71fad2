"""A JSON body to a table of the model's columns.

    {"rows": [{"user": 7, "item": 31, "price": 9.5}, …]}
    {"user": {"user": 7}, "candidates": [{"item": 31, "price": 9.5}, …]}

and in both "outputs": ["click@all", …], if not all are wanted. A column's values are read together.
Every row has every column that the model needs; null is a missing value.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import no_type_check

from dtn_jax.data.raw.types import Reject
from dtn_jax.export.serve.asked import Asked
from dtn_jax.export.serve.json_text import parse
from dtn_jax.export.serve.limits import TEXT, Limits
from dtn_jax.export.serve.reading import Reading
from dtn_jax.export.serve.refused import Refused, bad_value, shown

FORM = '{"rows": [{…}, …]} or {"user": {…}, "candidates": [{…}, …]}'
SHORT = TEXT // 4  # characters that are never too many bytes
INFINITE, FINITE = float("inf"), "a number that a 64-bit float holds"
UNICODE = f"a text of at most {TEXT:,} bytes in Unicode"
IGNORED = 20  # names that are told at most


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
    shared = frozenset(user) & read
    values = {
        name: [user[name]] if name in user else _values(rows, name, name in reading.optional, what)
        for name in reading.columns
    }
    _check_spread({name: values[name][0] for name in shared}, len(rows), limits)
    ignored = tuple(sorted((there | user.keys()) - read)[:IGNORED])
    asked = Asked(len(rows), chosen, ignored, None, values, body, what, shared)
    odd = b"\\ud" in body or b"\\uD" in body
    for name, column in values.items():
        types = set(map(type, column))
        quick = not odd and list not in types
        if str in types and quick:
            quick = max(len(v) for v in column if type(v) is str) <= SHORT
        if not quick:
            _check(asked, name, _is_short, UNICODE)
        if types & {float, list}:
            _check(asked, name, _is_finite, FINITE)
    return asked


def kind_of(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")


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


def _check(asked: Asked, name: str, fits: Callable, expected: str) -> None:
    """Refuses the first value of a column that does not fit."""
    for at, value in enumerate(asked.values[name]):
        if not fits(value):
            raise asked.refused(Reject(at + 1, "", name), at, expected)


@no_type_check  # called for every value
def _is_short(value):
    """Whether a text has no half of a surrogate pair, and is no longer than may be hashed."""
    if type(value) is list:
        return all(map(_is_short, value))
    try:
        return type(value) is not str or len(value.encode()) <= TEXT
    except UnicodeEncodeError:
        return False


@no_type_check  # called for every value
def _is_finite(value):
    """Whether no number is infinite, as 1e999 is."""
    if type(value) is list:
        return INFINITE not in value and -INFINITE not in value
    return type(value) is not float or -INFINITE < value < INFINITE


def _check_spread(once: Mapping[str, object], rows: int, limits: Limits) -> None:
    """Refuses values that would take too much memory once they are in all rows."""
    size = sum(map(_size, once.values())) * rows
    if size > limits.spread_bytes:
        raise Refused(
            413,
            f"the user's fields for {rows:,} candidates are {size:,} bytes, at most "
            f"{limits.spread_bytes:,} are scored at once: send fewer candidates",
        )


@no_type_check  # called for every value
def _size(value):
    """About the bytes of a value."""
    return (
        sum(map(_size, value)) if type(value) is list else len(value) if type(value) is str else 8
    )
