"""The raw columns that a log is read from: their types, decided once, and whether they fit.

A set's schema.json keeps them; what is scored later is cast to these types and to no others. Files
of CSV hold texts. In JSON lines the values of all lines decide. Where files of one log differ,
dates and times are microseconds in UTC, and all else is text, which loses no digit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.data import clean, keys
from dtn_jax.data.clean import Reject
from dtn_jax.datasets.logs import formula, times
from dtn_jax.datasets.logs.raw import json_kinds
from dtn_jax.datasets.logs.schema.spec import FieldSpec, Spec
from dtn_jax.errors import UserError, choose

Type = Any  # a polars type; beartype cannot name polars' DataType
Types = Mapping[str, Type]  # {column: its type}
UTC = pl.Datetime("us")
SINGLE, LISTS = "single values", "lists"
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


WIDER = (  # types that go together, and the one that they become
    ((pl.Float32, pl.Float64), pl.Float64),
    ((pl.Date, pl.Datetime), UTC),
    ((pl.Boolean, pl.Int64), pl.Int64),
)


def name_of(kind: Type) -> str:
    """A type's name in schema.json: one of NAMES, or `list of` one."""
    if kind == pl.List:
        return f"list of {name_of(kind.inner)}"
    return next(name for name, known in NAMES.items() if known == kind)


def of_name(name: str) -> Type:
    """The type that `name_of` named."""
    inner = name.removeprefix("list of ")
    return NAMES[inner] if inner == name else pl.List(of_name(inner))


def plain(kind: Type) -> Type:
    """The type that a column of one file is read as: one of NAMES, or a list of such."""
    if kind == pl.List:
        return pl.List(plain(kind.inner))
    if kind.is_integer():
        return pl.UInt64 if kind == pl.UInt64 else pl.Int64
    if kind.is_decimal():
        return pl.Float64
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


def types_of(known: Iterable[Types], names: Sequence[str]) -> dict[str, Type]:
    """The types of the columns `names` of a log, from those of its files; a file may lack some."""
    found: dict[str, Type] = {}
    for types in known:
        for name in names:
            if name in types:
                found[name] = common(found.get(name, pl.Null), plain(types[name]))
    return found


def as_read(spec: Spec, types: Types) -> dict[str, Type]:
    """The same types, but a column of numbers that only numeric fields read holds numbers of any
    kind."""
    numeric = {f.value.column for f in spec.fields if f.kind == "numeric" and f.value}
    others = dataclasses.replace(spec, fields=[f for f in spec.fields if f.kind != "numeric"])
    formulas = [f.value for f in spec.fields if f.kind == "numeric" and not f.value.column]
    read = {*columns(others), *(name for value in formulas for name in value.columns)}
    return {
        name: pl.Float64 if name in numeric - read and kind.is_numeric() else kind
        for name, kind in types.items()
    }


def cast(frame: pl.DataFrame, types: Types) -> pl.DataFrame:
    """The frame's columns in these types; none of its values is lost, since files' types are what
    these were made from."""
    return frame.with_columns(
        as_type(frame[name], kind) for name, kind in types.items() if frame[name].dtype != kind
    )


def as_type(column: pl.Series, kind: Type) -> pl.Series:
    """A column in another type; null where a value has none."""
    if column.dtype == pl.Datetime and column.dtype.time_zone:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if kind == pl.Boolean and column.dtype == pl.String:
        return column.replace_strict(TRUTHS, default=None, return_dtype=pl.Boolean)
    return json_kinds.as_type(column, kind)


TRUTHS = {text: value == "1" for text, value in keys.TRUTHS.items()} | {"1": True, "0": False}


# What is scored comes in any types.

DATE = "a date or time such as 2026-03-09T12:00:00Z"


def typed(column: pl.Series, kind: Type, reject: Reject) -> pl.Series:
    """A column of rows to score in the type that training had, null where it is missing.

    Args:
      column: of any type.
      kind: of training.
      reject: is told of rows whose value is there, but none of that type.
    """
    if column.dtype == kind:
        return column
    found = _converted(column, kind)
    lost = found.is_null() & column.is_not_null()
    if column.dtype.is_float():
        lost &= column.is_not_nan()
    if kind == pl.List and column.dtype == pl.List and found.count():
        inside = found.list.eval(pl.element().is_null()).list.sum()
        lost |= (inside > column.list.eval(pl.element().is_null()).list.sum()).fill_null(False)
    if lost.any():
        date = kind != pl.List and times.is_date(kind)
        reject(~lost, f"expected {DATE}" if date else clean.WRONG_TYPE, column)
    return found


def _converted(column: pl.Series, kind: Type) -> pl.Series:
    """A column in another type, null where a value has none; no number is rounded."""
    nothing = pl.Series(column.name, [None] * len(column), dtype=kind)
    dtype = column.dtype
    if (dtype == pl.List) != (kind == pl.List) or isinstance(dtype, pl.Struct | pl.Object):
        return nothing
    if kind == pl.List:
        inner = _converted(column.explode(keep_nulls=False, empty_as_null=False), kind.inner)
        return _lists(inner, column)
    if kind == pl.String:
        return column.cast(pl.String)
    if times.is_text(dtype):
        return _of_text(column.cast(pl.String).str.strip_chars(), kind)
    if times.is_date(kind) or times.is_date(dtype):
        return as_type(column, kind) if times.is_date(kind) and times.is_date(dtype) else nothing
    if not (dtype.is_numeric() or dtype == pl.Boolean):
        return nothing
    if kind == pl.Boolean:
        return column.set(~((column == 0) | (column == 1)), None).cast(pl.Boolean)
    found = column.cast(kind, strict=False)
    return (
        found.set((found.cast(dtype) != column).fill_null(False), None)
        if dtype.is_float()
        else found
    )


def _of_text(text: pl.Series, kind: Type) -> pl.Series:
    """Values that texts say."""
    if times.is_date(kind):
        return times.to_time(text, "date").cast(UTC).cast(kind)
    if kind == pl.Boolean:
        return as_type(text, kind)
    if kind.is_integer():
        return keys.plain_texts(text).cast(kind, strict=False)
    return text.cast(kind, strict=False)


def _lists(values: pl.Series, like: pl.Series) -> pl.Series:
    """Lists of values, as long as those of another column."""
    offsets = np.append(0, np.cumsum(like.list.len().fill_null(0).to_numpy()))
    mask = pa.array(like.is_null().to_numpy())
    lists = pa.LargeListArray.from_arrays(
        pa.array(offsets, pa.int64()), values.to_arrow(), mask=mask
    )
    return pl.Series(like.name, pl.from_arrow(lists))


def columns(spec: Spec) -> tuple[str, ...]:
    """The raw columns that a schema file's data set needs, each once."""
    expressions = [t.label for t in spec.tasks] + [t.known for t in spec.tasks]
    named = [*clean.raw_columns(spec.fields)]
    named += [name for e in expressions if e is not None for name in e.columns]
    named += [*whole_rows(spec), *history_columns(spec)]
    return tuple(dict.fromkeys(name for name in named if name))


def lists(spec: Spec) -> set[str]:
    """The raw columns that hold lists."""
    listed = [field for field in spec.fields if field.listed]
    return set(clean.raw_columns(listed))


def whole_rows(spec: Spec) -> tuple[str, ...]:
    """The columns that say something of a row as a whole; '' for those that a log lacks."""
    return spec.time, spec.group, spec.weight, spec.loss_weight, spec.split.column


def history_columns(spec: Spec) -> tuple[str, ...]:
    """The columns that say whose a history is, and which rows it lists."""
    histories = [field.history for field in spec.histories()]
    return tuple(name for h in histories for name in (h.by, *(h.where.columns if h.where else ())))


def may_lack(spec: Spec) -> tuple[str, ...]:
    """The columns that a raw file may lack: those that optional fields alone read."""
    read = {field: clean.raw_columns([field]) for field in spec.fields}
    needed = {*whole_rows(spec), *history_columns(spec)}
    for task in spec.tasks:
        needed |= {*task.label.columns, *(task.known.columns if task.known else ())}
    for field, named in read.items():
        needed |= set() if field.optional else {*named}
    offered = [name for field, named in read.items() if field.optional for name in named]
    return tuple(dict.fromkeys(name for name in offered if name not in needed))


def check(spec: Spec, address: str, types: Types) -> None:
    """Raises UserError that names the first column of a file that is missing or of a wrong type.

    Args:
      spec: the schema file.
      address: of the file.
      types: of its columns.
    """
    uses = {
        "time": spec.time,
        "group": spec.group,
        "weight": spec.weight,
        "loss_weight": spec.loss_weight,
        "column of split": spec.split.column,
    }
    for use, name in uses.items():
        if name:
            _is_there(f"{address}: {spec.path}: {use}", types, name)
            _has(spec.path, address, types, name, SINGLE)
    for field in spec.fields:
        if field.value is not None:
            _field(spec, field, address, types)
        if field.history is not None:
            _history(spec, field, address, types)
    for task in spec.tasks:
        where = f"{spec.path}, line {task.line}: label of {task.name!r}"
        formula.check(task.label, types, f"{address}: {where}", "number")
        if task.known is not None:
            where = f"{spec.path}, line {task.line}: `known` of {task.name!r}"
            formula.check(task.known, types, f"{address}: {where}", "truth")


def _field(spec: Spec, field: FieldSpec, address: str, types: Types) -> None:
    where = f"{spec.path}, line {field.line}: field {field.name!r}"
    kind = "number" if field.kind == "numeric" else ""
    formula.check(field.value, types, f"{address}: {where}", kind)
    wanted = LISTS if field.listed else SINGLE
    if field.value.column:
        _has(where, address, types, field.value.column, wanted)
    elif wanted == LISTS:
        raise UserError(f"{where}: a {field.kind} is a list column, not an expression")
    if field.weights:
        _is_there(f"{address}: {where}: weights", types, field.weights)
        _has(where, address, types, field.weights, LISTS)


def _history(spec: Spec, field: FieldSpec, address: str, types: Types) -> None:
    where = f"{spec.path}, line {field.line}: history of field {field.name!r}"
    _is_there(f"{address}: {where}: by", types, field.history.by)
    _has(where, address, types, field.history.by, SINGLE)
    if field.history.where is not None:
        formula.check(field.history.where, types, f"{address}: {where}: where", "truth")


def _is_there(where: str, types: Types, name: str) -> None:
    try:
        choose("column", name, types)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _has(where: str, address: str, types: Types, name: str, wanted: str) -> None:
    """Raises UserError unless a column holds lists, or single values."""
    kind = types[name]
    if kind == pl.Null or ((kind == pl.List) == (wanted == LISTS) and kind != pl.Struct):
        return
    hint = ""
    if kind == pl.List:
        hint = "; a field of lists has the kind bag (ids) or vector (numbers)"
    elif kind == pl.Struct:
        hint = "; nested columns cannot be read: write their parts as columns of their own"
    elif address.endswith((".csv", ".tsv", ".csv.gz", ".tsv.gz")):
        hint = "; CSV has no lists: write the log as Parquet or JSON lines"
    raise UserError(f"{where}: column {name!r} of {address} holds {kind}, expected {wanted}{hint}")
