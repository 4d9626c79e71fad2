"""The columns of a raw file, and the rows of a unit as chunks, whatever the format."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Iterator, Sequence

import polars as pl

from dtn_jax.datasets.logs.raw import arrow, csv, json_lines, parquet
from dtn_jax.datasets.logs.raw.files import FILE, RawFile
from dtn_jax.datasets.logs.raw.unit import Chunk, Types, Unit
from dtn_jax.datasets.logs.schema.spec import InputSpec
from dtn_jax.errors import UserError

ROWS = 65_536  # of a chunk, at most


def schema(file: RawFile, input: InputSpec) -> Types:
    """The columns of a file and their types, as far as the file says.

    CSV: String. JSON lines: of the first lines; see `schemas`. Parquet and Arrow: the file's, with
    dictionaries as their values, decimals as floats, binary columns as text; a nested column, which
    cannot be read, is a Struct. At the end stand the columns that the file's path gives, as String.

    Raises:
      UserError: the file cannot be read.
    """
    own = _own(file, input)
    return own | {name: pl.String() for name, _ in file.constants if name not in own}


def schemas(files: Sequence[RawFile], input: InputSpec) -> dict[str, Types]:
    """{address: `schema` of the file, and `_file`}, of files of one log.

    JSON writers may leave out what is null: a column that any file of the log has is Null in a file
    of JSON lines whose first lines lack it.
    """
    found = {file.address: {FILE: pl.String()} | schema(file, input) for file in files}
    every = {name: pl.Null() for types in found.values() for name in types}
    lines = {file.address for file in files if file.format == "jsonl"}
    return {a: types | (every if a in lines else {}) | types for a, types in found.items()}


def own(file: RawFile) -> Types:
    """The columns of decimals and of bytes, lists of them too, with their own types.

    `schema` has these as floats and as text; `chunks` reads them as they are where asked to.
    """
    found = {"parquet": parquet.own, "arrow": arrow.own}.get(file.format)
    return found(file) if found else {}


def chunks(
    file: RawFile,
    unit: Unit,
    columns: Sequence[str],
    input: InputSpec,
    rows: int = ROWS,
    may_lack: Collection[str] = (),
    as_is: Collection[str] = (),
    lists: Collection[str] | None = None,
) -> Iterator[Chunk]:
    """The rows of a unit, in the file's order.

    Args:
      file: the file that the unit is of.
      unit: as `plan` gives it.
      columns: the wanted ones; no others are read. `_file` is the file's name, unless it has a
        column of that name. One of JSON lines is null where a line lacks it, whichever that is.
      input: how the file is read.
      rows: of a chunk, at most.
      may_lack: columns that are null where the file has none.
      as_is: columns that have the types that `own` gives.
      lists: of JSON lines: see `json_lines.chunks`.

    Yields:
      Chunks whose cutting depends on the file and the unit alone. The types are those of `schema`,
      except that a JSON column becomes Float64 or String in a chunk where values need it: none is
      lost, so that later checks can count it. Where the first lines have no value of it, the
      chunk's values decide. A list where a JSON column has single values, or the other way round,
      and objects are rejected here.

    Raises:
      UserError: a wanted column is missing or nested, or the file is damaged.
    """
    own, constants = _own(file, input), {FILE: file.name} | dict(file.constants)
    if file.format == "jsonl":
        own |= {name: pl.Null() for name in columns if name not in own and name not in constants}
    else:
        lacking = [name for name in columns if name in may_lack and name not in own]
        constants = dict.fromkeys(lacking) | constants
    for name in columns:
        if name not in own and name not in constants:
            raise UserError(_missing(file, name, [*own, *dict(file.constants)]))
    physical = list(dict.fromkeys(name for name in columns if name in own))
    given = [name for name in columns if name not in own]
    # A frame without a column has no rows: then one that is not wanted says how many there are.
    read = physical or [_cheapest(own)]
    for chunk in _chunks(file, unit, read, input, rows, as_is, lists):
        constant = [pl.lit(constants[name], pl.String).alias(name) for name in given]
        frame, misfits = (
            found if found is None else found.with_columns(constant).select(columns)
            for found in (chunk.frame, chunk.misfits)
        )
        yield dataclasses.replace(chunk, frame=frame, misfits=misfits)


def _own(file: RawFile, input: InputSpec) -> Types:
    if file.format == "parquet":
        return parquet.schema(file)
    if file.format == "arrow":
        return arrow.schema(file)
    return csv.schema(file, input) if file.format == "csv" else json_lines.schema(file)


def _chunks(
    file: RawFile,
    unit: Unit,
    columns: list[str],
    input: InputSpec,
    rows: int,
    as_is: Collection[str],
    lists: Collection[str] | None,
) -> Iterator[Chunk]:
    if file.format == "parquet":
        return parquet.chunks(file, unit, columns, rows, as_is)
    if file.format == "arrow":
        return arrow.chunks(file, unit, columns, rows, as_is)
    if file.format == "csv":
        return csv.chunks(file, unit, columns, input, rows)
    return json_lines.chunks(file, unit, columns, rows, lists)


def _cheapest(own: Types) -> str:
    return min(own, key=lambda name: (isinstance(own[name], pl.Struct | pl.List), name))


def _missing(file: RawFile, name: str, there: list[str]) -> str:
    near = difflib.get_close_matches(name, there, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{file.address} has no column {name!r}.{hint} Its columns are: {', '.join(there)}."
