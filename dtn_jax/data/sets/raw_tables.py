"""Raw files as tables of DuckDB, and which of their rows are wrong.

A text is read line by line: so every line has its number, and no quote or odd byte can swallow the
lines that follow.
"""

from __future__ import annotations

import contextlib
import glob
import gzip
import os
import pathlib
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from dtn_jax.data.stages import work
from dtn_jax.errors import UserError, listed

NO_TEXT = "\x1c\x1d\x1e\x1f"  # would stand between columns: a line is to be one alone
MEMORY_GB = 4.0  # as of `prepare`
THREADS = 8  # at most: each may hold some 0.15 GB of long lines beside that
ROWS = 250_000  # that are taken out at a time
CSV_ERROR = re.compile(r".*CSV Error on Line: (\d+)\n.*\n(.*)")  # of DuckDB


class Column(NamedTuple):
    """What a column holds.

    Attributes:
      kind: its type in DuckDB.
      form: what its texts match; DuckDB's casts insist on less.
      expected: what to call that.
    """

    kind: str
    form: str
    expected: str


TEXT = Column("VARCHAR", ".*", "a text")


@contextlib.contextmanager
def opened(folder: pathlib.Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with a database of its own in a folder, which is removed in the end; it loads
    nothing from afar, and spills to that folder what does not fit into its memory."""
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    folder.mkdir(parents=True)
    try:
        with work.database(folder, MEMORY_GB, min(os.cpu_count() or 1, THREADS)) as database:
            database.execute("SET preserve_insertion_order = true")
            yield database
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        raise UserError(f"the files cannot be joined in {folder.parent}: {error}") from error
    finally:
        shutil.rmtree(folder)


def frames(database: duckdb.DuckDBPyConnection, query: str) -> Iterator[pl.DataFrame]:
    """The rows of a query, ROWS at a time."""
    for batch in database.sql(query).to_arrow_reader(ROWS):
        yield pl.from_arrow(batch)


def read_text(
    database: duckdb.DuckDBPyConnection,
    table: str,
    path: pathlib.Path,
    select: str,
    encoding: str = "utf-8",
    header: bool = False,
) -> int:
    """Makes a table of a text file, a row a line, in their order, which is that of `rowid`.

    Args:
      database: gets the table.
      table: its name.
      path: the file; `.gz` is unpacked.
      select: SQL of the table's rows, one of each of `lines`, whose `text` may be ''.
      encoding: of the file; latin-1 reads any bytes.
      header: whether the first line is left out.

    Returns:
      The number of rows.

    Raises:
      UserError: the file cannot be read, is not of this encoding, or holds no lines.
    """
    options = {"delim": NO_TEXT, "quote": "", "escape": "", "encoding": encoding, "header": header}
    given = ", ".join(f"{name} = '{value}'" for name, value in options.items())
    lines = f"read_csv(?, auto_detect = false, columns = {{'text': 'VARCHAR'}}, {given})"
    lines = f"lines AS NOT MATERIALIZED (SELECT coalesce(text, '') AS text FROM {lines})"
    with _told(path):
        if path.suffix == ".gz":  # whose checksum DuckDB does not look at
            with gzip.open(path) as file:
                while file.read(1 << 20):
                    pass
        (count,) = database.execute(
            f"CREATE OR REPLACE TABLE {table} AS WITH {lines} {select}", [glob.escape(str(path))]
        ).fetchone()
    if not count:
        raise UserError(f"{path} holds no lines")
    return count


def read_table(
    database: duckdb.DuckDBPyConnection,
    table: str,
    path: pathlib.Path,
    columns: Mapping[str, Column],
    names: Sequence[str] = (),
    header: bool = False,
    encoding: str = "utf-8",
    values: str = "string_split(text, ',')",
    more: str = "",
) -> None:
    """Makes a table of a text or Parquet file, in the order of its rows, which is that of `rowid`.

    Args:
      database: gets the table.
      table: its name.
      path: the file; checksums of Parquet, which DuckDB does not look at, are verified.
      columns: {name: what it holds} of those to read.
      names: of a text's values, in their order; (): its header has them.
      header: whether a text with `names` has a header all the same.
      encoding: of a text.
      values: SQL of the list `v` of the values of a text's line, `text`; NULL where it is no row.
      more: SQL of further columns of a text, each with a comma behind it.

    Raises:
      UserError: the file cannot be read, lacks a column or has it twice, or has a wrong row.
    """
    parquet, header = path.suffix == ".parquet", header or not names
    names = names_of(path) if parquet or not names else names
    if lacking := [name for name in columns if name not in names]:
        raise UserError(
            f"{path}: column {lacking[0]!r} is missing; the columns are: {listed(names)}"
        )
    if twice := [name for name in columns if names.count(name) > 1]:
        raise UserError(f"{path}: column {twice[0]!r} is there twice")
    if not parquet:
        texts = {name: f"v[{names.index(name) + 1}]" for name in columns}
        given = typed(columns, texts, len(names))
        select = f"SELECT {more} {given} FROM (SELECT {values} AS v FROM lines)"
        read_text(database, table, path, select, encoding, header)
    else:
        texts = {name: f"coalesce({name}::VARCHAR, '')" for name in columns}
        with _told(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
            schema = pa.schema([file.schema_arrow.field(name) for name in columns])
            batches = file.iter_batches(columns=list(columns))
            database.register("batches", pa.RecordBatchReader.from_batches(schema, batches))
            database.execute(f"CREATE TABLE {table} AS SELECT {typed(columns, texts)} FROM batches")
    refuse(database, table, path, header)


def names_of(path: pathlib.Path) -> list[str]:
    """The names of the columns of a Parquet file, or of a CSV with commas, in its header."""
    with _told(path):
        if path.suffix == ".parquet":
            return pq.read_schema(path).names
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.readline().strip().split(",")


def typed(columns: Mapping[str, Column], texts: Mapping[str, str], count: int = 0) -> str:
    """SQL of columns made of texts, and of `wrong`: what to say of a wrong row, else NULL.

    Args:
      columns: {name: what it holds}.
      texts: SQL of the text of each, which is never NULL.
      count: how many values the list `v` is to have; 0: there is no such list.
    """
    cases = [f"len(v) <> {count} THEN len(v) || ' values, expected {count}'"] if count else []
    for name, column in columns.items():
        told = f"'{name} is ''' || {texts[name]} || ''', expected {column.expected}'"
        cases.append(f"NOT regexp_full_match({texts[name]}, '{column.form}') THEN {told}")
    casts = [f'try_cast({texts[name]} AS {c.kind}) AS "{name}"' for name, c in columns.items()]
    return f"{', '.join(casts)}, CASE WHEN {' WHEN '.join(cases)} END AS wrong"


def refuse(
    database: duckdb.DuckDBPyConnection,
    table: str,
    path: pathlib.Path,
    header: bool = False,
    wrong: str = "wrong IS NOT NULL",
    reason: str = "wrong",
) -> None:
    """Raises UserError that names the first row of a table that is wrong.

    Args:
      database: has the table.
      table: its name.
      path: its file.
      header: whether a text has a first line that is no row.
      wrong: SQL that is true of a wrong row.
      reason: SQL of what to say of it.
    """
    parquet = path.suffix == ".parquet"
    row, first = ("row", 1) if parquet else ("line", 2 if header else 1)
    found = database.execute(
        f"SELECT rowid + {first}, {reason}, count(*) OVER () FROM {table} WHERE {wrong} "
        "ORDER BY rowid LIMIT 1"
    ).fetchone()
    if found:
        number, what, count = found
        more = f" (in {count:,} rows)" if count > 1 else ""
        raise UserError(f"{path}, {row} {number}: {what}{more}")


@contextlib.contextmanager
def _told(path: pathlib.Path) -> Iterator[None]:
    """Raises UserError of a file that cannot be read, with its line where that is known."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError, EOFError, zlib.error) as error:
        line = CSV_ERROR.match(str(error))
        place, why = (f"{path}, line {line[1]}", line[2]) if line else (path, str(error))
        raise UserError(f"{place} cannot be read: {why.splitlines()[0]}") from None
