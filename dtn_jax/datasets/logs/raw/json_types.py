"""The types of JSON values, and columns of them that keep every value visible."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import no_type_check

import polars as pl
import pyarrow as pa

TEXT = pa.large_string()
EXACT = 1 << 53  # up to here a float holds every whole number

NOT_SCALAR = "a list where a single value is expected"
NOT_LIST = "a single value where a list is expected"
NESTED = "an object or a list of lists"
NO_TEXT = "text that is not Unicode (half a surrogate pair)"


@dataclasses.dataclass(frozen=True)
class Kinds:
    """Python's types of a column's values, missing ones apart.

    Attributes:
      scalars: of the single values.
      items: of what is in lists.
      lists: whether there are any.
    """

    scalars: frozenset[type] = frozenset()
    items: frozenset[type] = frozenset()
    lists: bool = False

    @classmethod
    def of(cls, values: Sequence) -> Kinds:
        found = set(map(type, values)) - {type(None)}
        lists = list in found
        inner = (value for value in values if type(value) is list) if lists else ()
        items = set(map(type, _scalars(inner))) - {type(None)}
        return cls(frozenset(found - {list}), frozenset(items), lists)

    def __or__(self, other: Kinds) -> Kinds:
        return Kinds(
            self.scalars | other.scalars, self.items | other.items, self.lists or other.lists
        )

    @classmethod
    def expected(cls, values: Sequence) -> Kinds:
        """What a column is taken to hold, by its first values.

        Lists or single values, whichever are more; with text, where only text shows large numbers
        exactly.
        """
        lists = [value for value in values if type(value) is list]
        singles = [value for value in values if type(value) not in (list, type(None))]
        kept = lists if len(lists) >= len(singles) else singles
        kinds = cls.of(kept)
        numbers = [v for v in _scalars(kept) if type(v) in (int, float)]
        try:
            pa.array(numbers, _type(frozenset(map(type, numbers))))
        except (pa.ArrowInvalid, OverflowError):
            text = frozenset({str})
            return kinds | (cls(items=text) if kinds.lists else cls(text))
        return kinds

    @property
    def empty(self) -> bool:
        """Whether there are no values."""
        return not self.lists and not self.scalars

    @property
    def nested(self) -> bool:
        """Whether all are objects or lists of lists."""
        only = self.items if self.lists else self.scalars
        return bool(only) and only <= {dict, list}

    def type(self) -> pa.DataType:
        if self.nested:
            return pa.struct([])
        return pa.large_list(_type(self.items)) if self.lists else _type(self.scalars)


def _scalars(values: Iterable) -> Iterator:
    """Single values, and those in lists."""
    return itertools.chain.from_iterable(v if type(v) is list else (v,) for v in values)


def _type(kinds: frozenset[type]) -> pa.DataType:
    kinds = kinds - {dict, list}
    if not kinds:
        return pa.null()
    if kinds == {bool}:
        return pa.bool_()
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds <= {int, float} else TEXT


@no_type_check  # called for every value
def misfit(value: object, expected: Kinds) -> str:
    """Why a value cannot stand in a column of the `expected` kinds; '' if it can."""
    kind = type(value)
    if kind is dict or (kind is list and any(type(v) in (dict, list) for v in value)):
        return NESTED
    if kind is list and expected.scalars and not expected.lists:
        return NOT_SCALAR
    if kind is not list and value is not None and expected.lists:
        return NOT_LIST
    return ""


def may_misfit(kinds: Kinds, expected: Kinds) -> bool:
    """Whether any of the values of these kinds can be a misfit."""
    return (
        bool((kinds.scalars | kinds.items) & {dict, list})
        or (kinds.lists and bool(expected.scalars) and not expected.lists)
        or (bool(kinds.scalars) and expected.lists)
    )


def series(values: list, expected: Kinds) -> pl.Series:
    """A column of values without misfits.

    Its type is that of `expected` where all values fit it. Otherwise it is the next that shows all
    of them: Float64 for whole numbers and others, String for numbers and text.
    """
    found = Kinds.of(values) | expected
    array = _array(values, found.items if found.lists else found.scalars, found.lists)
    return pl.from_arrow(array)


def _array(values: list, kinds: frozenset[type], lists: bool) -> pa.Array:
    type = _type(kinds)
    if type != TEXT or kinds == {str}:
        with contextlib.suppress(pa.ArrowInvalid, OverflowError):  # no number is rounded in silence
            return pa.array(values, pa.large_list(type) if lists else type)
    if lists:
        texts = ([as_text(v) for v in value] if value is not None else None for value in values)
        return pa.array(texts, pa.large_list(TEXT))
    return pa.array(map(as_text, values), TEXT)


@no_type_check  # called for every value
def as_text(value: object) -> str | None:
    """A value as text; whole numbers as such, also where they came as 3.0, and lists as JSON."""
    if value is None or type(value) is str:
        return value
    if type(value) is float:
        return str(int(value)) if value.is_integer() and abs(value) <= EXACT else repr(value)
    return str(value) if type(value) is int else json.dumps(value)
