"""The columns of a raw file, the units that it is cut into, and their rows, whatever the format."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence

import polars as pl

from dtn_jax.data.raw import columnar, csv, json_lines
from dtn_jax.data.raw.files import FILE, RawFile
from dtn_jax.data.raw.types import Chunk, Types, Unit, read_as
from dtn_jax.data.schemas.spec import InputSpec

READERS = {"csv": csv, "jsonl": json_lines, "parquet": columnar, "arrow": columnar}
ROWS = 65_536  # of a chunk, at most
UNIT_ROWS = 1_000_000  # of a unit of a Parquet or Arrow file, where its pieces are smaller
UNIT_BYTES = 64 << 20  # of a unit of a text file


def schema(file: RawFile, input: InputSpec) -> Types:
    """The columns of a file and their types, as far as the file says.

    CSV: String. JSON lines: of the first lines; see `schemas`. Parquet and Arrow: the file's, with
    dictionaries as their values; a nested column, which cannot be read, is a Struct. At the end
    stand the columns that the file's path gives, as String.

    Raises:
      UserError: the file cannot be read.
    """
    types = READERS[file.format].schema(file, input)
    return types | {name: pl.String() for name, _ in file.constants if name not in types}


def schemas(files: Sequence[RawFile], input: InputSpec, as_is: bool = False) -> dict[str, Types]:
    """{address: `schema` of the file, and `_file`}, of files of one log; unless they are wanted
    `as_is`, decimals and bytes are as `read_as` has them.

    JSON writers may leave out what is null: a column that any file of the log has is Null in a file
    of JSON lines whose first lines lack it.
    """
    known = {file.address: {FILE: pl.String()} | schema(file, input) for file in files}
    if not as_is:
        known = {a: {n: read_as(kind) for n, kind in types.items()} for a, types in known.items()}
    every = {name: pl.Null() for types in known.values() for name in types}
    lines = {file.address for file in files if file.format == "jsonl"}
    return {a: types | (every if a in lines else {}) | types for a, types in known.items()}


def plan(
    files: Sequence[RawFile], input: InputSpec, rows: int = UNIT_ROWS, size: int = UNIT_BYTES
) -> list[Unit]:
    """The units of all files, in their order; they depend on the files alone.

    Args:
      files: as `find` gives them.
      input: how they are read.
      rows: row groups or record batches are joined up to so many; a larger one is a unit.
      size: bytes after which a text file is cut, at the next line end. A gzip file is one unit.

    Raises:
      UserError: a file cannot be read.
    """
    units = []
    for number, file in enumerate(files):
        headless = file.format == "jsonl" or (file.format == "csv" and input.columns)
        if headless and not file.size:  # Spark writes empty parts so
            continue
        pieces = READERS[file.format].pieces(file, input, rows, size)
        units += [Unit(number, *piece) for piece in pieces]
    return units


def chunks(
    file: RawFile,
    unit: Unit,
    columns: Sequence[str],
    input: InputSpec,
    rows: int = ROWS,
    lists: Collection[str] | None = None,
) -> Iterator[Chunk]:
    """The rows of a unit, in the file's order.

    Args:
      file: the file that the unit is of.
      unit: as `plan` gives it.
      columns: the wanted ones; no others are read. `_file` is the file's name, unless it has a
        column of that name. One that the file, or a line of JSON, lacks is null.
      input: how the file is read.
      rows: of a chunk, at most.
      lists: of JSON lines, the columns that hold lists. None: the file's first lines say which do.

    Yields:
      Chunks whose cutting depends on the file and the unit alone. The types are those of `schema`,
      except that a JSON column becomes Float64 or String in a chunk where values need it: none is
      lost, so that later checks can count it. Where the first lines have no value of it, the
      chunk's values decide. A list where a JSON column has single values, or the other way round,
      and objects are rejected here. Text of Parquet and Arrow that is not UTF-8 comes as bytes.

    Raises:
      UserError: a wanted column is nested, or the file is damaged.
    """
    reader, constants = READERS[file.format], {FILE: file.name} | dict(file.constants)
    known = reader.schema(file, input)
    if file.format == "jsonl":
        known |= {name: pl.Null() for name in {*columns} - {*known} - {*constants}}
    # A frame without a column has no rows: then one that is not wanted says how many there are.
    read = [name for name in dict.fromkeys(columns) if name in known]
    read = read or [min(known, key=lambda name: (known[name].is_nested(), name))]  # the cheapest
    others = [name for name in columns if name not in known]
    given = [pl.lit(constants.get(name), pl.String).alias(name) for name in others]
    for chunk in reader.chunks(file, unit, read, rows, input, lists):
        frame = chunk.frame.with_columns(given).select(columns)
        yield dataclasses.replace(chunk, frame=frame)
