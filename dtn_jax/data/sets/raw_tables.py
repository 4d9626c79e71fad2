"""Raw files as tables of DuckDB, in the order of their rows, which is that of `rowid`."""

from __future__ import annotations

import contextlib
import glob
import os
import pathlib
import shutil
from collections.abc import Iterator

import duckdb
import polars as pl

from dtn_jax.data.stages import work
from dtn_jax.errors import UserError

MEMORY_GB = 4.0  # as of `prepare`
THREADS = 8  # at most: each may hold some 0.15 GB of long lines beside that
ROWS = 250_000  # that are taken out at a time
WHY = 3  # lines of DuckDB's message: the line, what it says, and why it cannot be read


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


def read(
    database: duckdb.DuckDBPyConnection,
    table: str,
    path: pathlib.Path,
    query: str,
    **options: object,
) -> None:
    """Makes a table of a Parquet file, or of a text, plain or `.gz`.

    Args:
      database: gets the table.
      table: its name.
      path: the file.
      query: SQL of the table's rows, where FILE are the file's.
      options: of a text, as DuckDB's `read_csv` has them; without `columns` its header names them.

    Raises:
      UserError: the file cannot be read, or holds no rows.
    """
    source = "read_parquet(?)"
    if path.suffix != ".parquet":
        if "columns" not in options:
            with path.open(encoding="utf-8-sig") as file:
                options["columns"] = dict.fromkeys(file.readline().strip().split(","), "VARCHAR")
        texts = {name: f"'{v}'" if isinstance(v, str) else v for name, v in options.items()}
        given = ", ".join(f"{name} = {text}" for name, text in texts.items())
        source = f"read_csv(?, auto_detect = false, {given})"
    query = f"CREATE OR REPLACE TABLE {table} AS {query.replace('FILE', source)}"
    try:
        (count,) = database.execute(query, [glob.escape(str(path))]).fetchone()
    except duckdb.Error as error:
        why = " ".join(str(error).splitlines()[:WHY])
        raise UserError(f"{path} cannot be read: {why}") from None
    if not count:
        raise UserError(f"{path} holds no rows")
