"""Text files as tables of DuckDB, and which of their lines are wrong.

A text is read line by line: so every line has its number, and no quote or odd byte can swallow the
lines that follow.
"""

from __future__ import annotations

import glob
import gzip
import pathlib
import re
import zlib
from collections.abc import Mapping

import duckdb

from dtn_jax.errors import UserError

NO_TEXT = "\x1c\x1d\x1e\x1f"  # would stand between columns: a line is to be one alone
CSV_ERROR = re.compile(r".*CSV Error on Line: (\d+)\n.*\n(.*)")  # of DuckDB
NUMBERS = {  # of a type: its form, which DuckDB's casts do not insist on, and what to call it
    "BIGINT": (r"-?\d{1,18}", "a whole number"),
    "DOUBLE": (r"-?\d+(\.\d+)?", "a number"),
}


def read_text(
    database: duckdb.DuckDBPyConnection,
    table: str,
    path: pathlib.Path,
    values: str,
    columns: str,
    encoding: str = "utf-8",
    header: bool = False,
) -> None:
    """Makes a table of a text file, a row a line, in their order, which is that of `rowid`.

    Args:
      database: gets the table.
      table: its name.
      path: the file; `.gz` is unpacked.
      values: SQL of the list of a line's values, made of `text`, the line; an empty line is ''.
      columns: SQL of the table's columns, made of `text` and `v`, that list.
      encoding: of the file; latin-1 reads any bytes.
      header: whether the first line is left out.

    Raises:
      UserError: the file cannot be read, is not of this encoding, or holds no lines.
    """
    options = {"delim": NO_TEXT, "quote": "", "escape": "", "encoding": encoding, "header": header}
    given = ", ".join(f"{name} = '{value}'" for name, value in options.items())
    lines = f"read_csv(?, auto_detect = false, columns = {{'text': 'VARCHAR'}}, {given})"
    texts = f"SELECT coalesce(text, '') AS text FROM {lines}"
    try:
        if path.suffix == ".gz":  # whose checksum DuckDB does not look at
            with gzip.open(path) as file:
                while file.read(1 << 20):
                    pass
        (count,) = database.execute(
            f"CREATE TABLE {table} AS SELECT {columns} FROM (SELECT text, {values} AS v "
            f"FROM ({texts}))",
            [glob.escape(str(path))],
        ).fetchone()
    except (duckdb.Error, OSError, EOFError, zlib.error) as error:
        line = CSV_ERROR.match(str(error))
        place, why = (f"{path}, line {line[1]}", line[2]) if line else (path, str(error))
        raise UserError(f"{place}: it cannot be read: {why.splitlines()[0]}") from None
    if not count:
        raise UserError(f"{path} holds no lines")


def first_line(path: pathlib.Path) -> str:
    """The header of a text file; '' of an empty one."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return file.readline().strip()


def typed(columns: Mapping[str, str], count: int, missing: bool = True) -> str:
    """SQL of columns, made of the list `v` of a line's values, and of `wrong`: what to say of a
    line that is damaged, else NULL.

    Args:
      columns: {name: its place, from 1 on, and its type}, such as "3 BIGINT".
      count: values of a line.
      missing: whether a number may be missing, as '' is.
    """
    made, wrong = [], [f"len(v) <> {count} THEN len(v) || ' values, expected {count}'"]
    for name, column in columns.items():
        place, kind = column.split()
        made.append(f'try_cast(v[{place}] AS {kind}) AS "{name}"')
        if kind in NUMBERS:
            form, expected = NUMBERS[kind]
            told = f"'{name} is ''' || v[{place}] || ''', expected {expected}'"
            form = f"({form})?" if missing else form
            wrong.append(f"NOT regexp_full_match(v[{place}], '{form}') THEN {told}")
    return f"{', '.join(made)}, CASE WHEN {' WHEN '.join(wrong)} END AS wrong"


def refuse(
    database: duckdb.DuckDBPyConnection,
    table: str,
    place: str,
    first: int,
    wrong: Mapping[str, str],
) -> None:
    """Raises UserError that names the first row of a table that is wrong.

    Args:
      database: has the table.
      table: its name.
      place: its file, and what a row of it is called, such as 'log.csv, line'.
      first: the number of the first row.
      wrong: {SQL that is true of a wrong row: SQL of what to say of it}.
    """
    for condition, told in wrong.items():
        found = database.execute(
            f"SELECT rowid + {first}, {told}, count(*) OVER () FROM {table} WHERE {condition} "
            "ORDER BY rowid LIMIT 1"
        ).fetchone()
        if found:
            number, what, count = found
            raise UserError(f"{place} {number}: {what}" + f" (in {count:,} rows)" * (count > 1))
