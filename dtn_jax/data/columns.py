"""The raw columns that a log is read from: which they are, their types, and whether they fit.

A set's schema.json keeps the types; what is scored later is cast to them (cast.py). Files of CSV
hold texts. In JSON lines the values of all lines decide. Where files of one log differ, dates and
times are microseconds in UTC, and all else is text, which loses no digit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import polars as pl

from dtn_jax.data import clean, formula
from dtn_jax.data.raw.types import Type, Types, common, name_of, plain
from dtn_jax.data.schemas.spec import Spec
from dtn_jax.errors import UserError, choose

__all__ = ["Type", "Types", "name_of"]  # beside what is defined here

SINGLE, LISTS = "single values", "lists"


def types_of(known: Iterable[Types], names: Sequence[str]) -> dict[str, Type]:
    """The types of the columns `names` of a log, from those of its files; a file may lack some."""
    kinds: dict[str, Type] = {}
    for types in known:
        for name in names:
            if name in types:
                kinds[name] = common(kinds.get(name, pl.Null), plain(types[name]))
    return kinds


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
    rows = ("time", "group", "weight", "loss_weight")
    singles = {use: getattr(spec, use) for use in rows} | {"column of split": spec.split.column}
    for use, name in singles.items():
        if name:
            _has(f"{spec.path}: {use}", address, types, name, SINGLE)
    for field in spec.fields:
        where = f"{spec.path}, line {field.line}: field {field.name!r}"
        if field.value is not None:
            kind = "number" if field.kind == "numeric" else ""
            formula.check(field.value, types, f"{address}: {where}", kind)
        if field.value is not None and field.value.column:
            column = field.value.column
            _has(where, address, types, column, LISTS if field.listed else SINGLE)
        if field.weights:
            _has(f"{where}: weights", address, types, field.weights, LISTS)
        if field.history is not None:
            _has(f"{where}: history: by", address, types, field.history.by, SINGLE)
        if field.history is not None and field.history.where is not None:
            where = f"{address}: {where}: history: where"
            formula.check(field.history.where, types, where, "truth")
    for task in spec.tasks:
        where = f"{address}: {spec.path}, line {task.line}"
        formula.check(task.label, types, f"{where}: label of {task.name!r}", "number")
        if task.known is not None:
            formula.check(task.known, types, f"{where}: `known` of {task.name!r}", "truth")


def _has(where: str, address: str, types: Types, name: str, wanted: str) -> None:
    """Raises UserError unless a file has a column that holds lists, or single values."""
    try:
        choose("column", name, types)
    except UserError as error:
        raise UserError(f"{address}: {where}: {error}") from None
    kind = types[name]
    if kind == pl.Null or ((kind == pl.List) == (wanted == LISTS) and kind != pl.Struct):
        return
    hint = ""
    if kind == pl.List:
        hint = "; a field of lists has the kind bag (ids) or vector (numbers)"
    elif kind == pl.Struct:
        hint = "; nested columns cannot be read: write their parts as columns of their own"
    elif address.endswith((".csv", ".tsv", ".gz")):
        hint = "; CSV has no lists: write the log as Parquet or JSON lines"
    raise UserError(f"{where}: column {name!r} of {address} holds {kind}, expected {wanted}{hint}")
