"""Whether raw files have the columns, of the types, that a schema file speaks of."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator, Mapping

import polars as pl

from dtn_jax.datasets.logs.formula import expression
from dtn_jax.datasets.logs.raw import json_lines
from dtn_jax.datasets.logs.raw.unit import Types
from dtn_jax.datasets.logs.rows import field_values
from dtn_jax.datasets.logs.schema.spec import FieldSpec, Spec
from dtn_jax.errors import UserError, choose

SINGLE = "single values"
LISTS = "lists"


def check(spec: Spec, known: Mapping[str, Types], lines: Collection[str] = ()) -> None:
    """Raises UserError that names the first column that is missing or of a wrong type.

    Args:
      spec: the schema file.
      known: the columns of each raw file, by its address.
      lines: the addresses of JSON lines, of which only the first lines were looked at.
    """
    for address, types in known.items():
        with _first_lines(types, address in lines):
            _file(spec, address, types)


def singles(spec: Spec) -> tuple[str, ...]:
    """The columns that are read as single values, those inside of expressions aside."""
    read = [e for task in spec.tasks for e in (task.label, task.known)]
    named = [*field_values.singles(spec.fields), *(e.column for e in read if e is not None)]
    named += whole_rows(spec)
    named += [field.history.by for field in spec.histories()]
    return tuple(dict.fromkeys(name for name in named if name))


def whole_rows(spec: Spec) -> tuple[str, ...]:
    """The columns that say something of a row as a whole; '' for those that a log lacks."""
    return spec.time, spec.group, spec.weight, spec.loss_weight, spec.split.column


def history_columns(spec: Spec) -> tuple[str, ...]:
    """The columns that say whose a history is, and which rows it lists."""
    histories = [field.history for field in spec.histories()]
    return tuple(name for h in histories for name in (h.by, *(h.where.columns if h.where else ())))


def may_lack(spec: Spec) -> tuple[str, ...]:
    """The columns that a raw file may lack: those that optional fields alone read."""
    read = {
        field: {*(field.value.columns if field.value else ()), *filter(None, [field.weights])}
        for field in spec.fields
    }
    needed = {*whole_rows(spec), *history_columns(spec)}
    for task in spec.tasks:
        needed |= {*task.label.columns, *(task.known.columns if task.known else ())}
    for field, own in read.items():
        needed |= set() if field.optional else own
    offered = [name for field, own in read.items() if field.optional for name in sorted(own)]
    return tuple(dict.fromkeys(name for name in offered if name not in needed))


@contextlib.contextmanager
def _first_lines(types: Types, only: bool) -> Iterator[None]:
    """Says of a missing column where it was looked for, if `only` there."""
    try:
        yield
    except UserError as error:
        told = str(error)
        missing = re.search(r"unknown column .+?(?=\.( |$))", told) if only else None
        if missing is None:
            raise
        where = f" in the first {json_lines.HEAD_LINES:,} lines of any file, and in others"
        raise UserError(told[: missing.end()] + where + told[missing.end() :]) from None


def _file(spec: Spec, address: str, types: Types) -> None:
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
        expression.check(task.label, types, f"{address}: {where}", "number")
        if task.known is not None:
            where = f"{spec.path}, line {task.line}: `known` of {task.name!r}"
            expression.check(task.known, types, f"{address}: {where}", "truth")


def _field(spec: Spec, field: FieldSpec, address: str, types: Types) -> None:
    where = f"{spec.path}, line {field.line}: field {field.name!r}"
    kind = "number" if field.kind == "numeric" else ""
    expression.check(field.value, types, f"{address}: {where}", kind)
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
        expression.check(field.history.where, types, f"{address}: {where}: where", "truth")


def _is_there(where: str, types: Types, name: str) -> None:
    try:
        choose("column", name, types)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _has(where: str, address: str, types: Types, name: str, wanted: str) -> None:
    """Raises UserError unless a column holds lists, or single values."""
    dtype = types[name]
    if dtype == pl.Null or ((dtype == pl.List) == (wanted == LISTS) and dtype != pl.Struct):
        return
    hint = ""
    if dtype == pl.List:
        hint = "; a field of lists has the kind bag (ids) or vector (numbers)"
    elif dtype == pl.Struct:
        hint = "; nested columns cannot be read: write their parts as columns of their own"
    elif address.endswith((".csv", ".tsv", ".csv.gz", ".tsv.gz")):
        hint = "; CSV has no lists: write the log as Parquet or JSON lines"
    raise UserError(f"{where}: column {name!r} of {address} holds {dtype}, expected {wanted}{hint}")
