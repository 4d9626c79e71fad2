"""CSV files: every column comes as text. Open quotes are found before pyarrow parses the rest."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv

from dtn_jax.data.raw import lines as text
from dtn_jax.data.raw.files import RawFile
from dtn_jax.data.raw.types import Chunk, Pieces, Reject, Types, Unit
from dtn_jax.data.schemas.spec import InputSpec
from dtn_jax.errors import UserError
from dtn_jax.shapes import Bool

HEAD = 1 << 16  # bytes in which the header is looked for at first
QUOTE = 34
OPEN = "a quote that does not close on its line"
BREAK = (
    "a quoted value with a line break (CSV is read line by line: write Parquet or JSON lines "
    "instead)"
)
CONTINUED = "a further line of such a row"  # which is counted once
LONGEST = 100  # lines of a row whose quoted values have line breaks
RETURN = "a carriage return inside the line"


def schema(file: RawFile, input: InputSpec) -> Types:
    """The named columns; all are text."""
    return {name: pl.String() for name in _header(file, input)[0] if name}


def pieces(file: RawFile, input: InputSpec, rows: int, size: int) -> Pieces:
    """(start, stop, first line, lines) of the pieces below the header."""
    _, start, first = _header(file, input)
    return text.ranges(file, start, first, size)


def chunks(
    file: RawFile, unit: Unit, columns: Sequence[str], rows: int, input: InputSpec, lists: object
) -> Iterator[Chunk]:
    """The unit's rows, the columns as String; see `read.chunks`."""
    names, separator = _header(file, input)[0], _separator(file, input)
    convert = pacsv.ConvertOptions(
        column_types=dict.fromkeys(columns, pa.string()),
        include_columns=list(columns),
        null_values=["", *input.missing],
        strings_can_be_null=True,
        check_utf8=False,  # checked here
    )
    for lines in text.blocks(file, unit, rows):
        reasons = _broken(lines, separator, len(names))
        kept = lines.ends > lines.starts  # others are blank
        kept[list(reasons)] = False
        numbers = np.flatnonzero(kept)
        if len(numbers):
            try:
                table, others = _parsed(lines.only(kept), names, separator, convert)
                numbers, wrong = np.delete(numbers, list(others)), numbers[list(others)]
                if len(table) != len(numbers):
                    raise ValueError(f"{len(table)} rows are read of {len(numbers)} lines")
            except (pa.ArrowInvalid, ValueError) as error:
                last = lines.first + len(lines.starts) - 1
                where = f"{file.address}: lines {lines.first} to {last}"
                raise UserError(f"{where} cannot be read as CSV: {error}") from None
            reasons |= zip(wrong.tolist(), others.values())
            frame = pl.from_arrow(table.select(list(columns)))
        elif reasons:
            frame = pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
        else:
            continue
        broken = [
            Reject(lines.first + n, reason, value=lines.shown(n))
            for n, reason in sorted(reasons.items())
            if reason != CONTINUED
        ]
        yield Chunk(frame, lines.first + numbers, broken)


def _parsed(
    data: np.ndarray, names: list[str], separator: str, convert: pacsv.ConvertOptions
) -> tuple[pa.Table, dict[int, str]]:
    """The rows of lines without open quotes, and {line: why it is none}."""
    others = {}

    def skip(row: pacsv.InvalidRow) -> str:
        few = row.actual_columns < row.expected_columns
        others[row.number - 1] = f"too {'few' if few else 'many'} columns"
        return "skip"

    parse = pacsv.ParseOptions(delimiter=separator, invalid_row_handler=skip)
    read = pacsv.ReadOptions(use_threads=False, column_names=names, block_size=len(data) + 1)
    return pacsv.read_csv(pa.py_buffer(data), read, parse, convert), others


def _header(file: RawFile, input: InputSpec) -> tuple[list[str], int, int]:
    """The columns, the byte (of the unpacked text) where data begin, and that line's number."""
    mark = text.after_mark(file)
    if input.columns:
        return list(input.columns), mark, 1
    number, begins = 1, mark
    for line in text.head(file, HEAD).splitlines(keepends=True):
        if line.strip():
            break
        number, begins = number + 1, begins + len(line)
    else:
        raise UserError(
            f"{file.address} has no header line; name its columns in the input's columns"
        )
    try:
        (names,) = csv.reader([line.decode()], delimiter=_separator(file, input), strict=True)
    except (ValueError, csv.Error) as error:
        raise UserError(f"{file.address}: the header, line {number}, is broken: {error}") from None
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        shown = ", ".join(map(repr, twice))
        raise UserError(f"{file.address}: the header, line {number}, has {shown} more than once")
    return names, begins + len(line), number + 1


def _separator(file: RawFile, input: InputSpec) -> str:
    tabs = file.address.lower().removesuffix(".gz").endswith(".tsv")
    return "\t" if tabs and input.separator == InputSpec().separator else input.separator


# A value: quoted, with whatever follows the closing quote; or plain, where quotes are characters.
_VALUE = rb'(?:"(?:[^"]|"")*+"[^SEP]*+|(?!")[^SEP]*+)'
_STRICT = rb'(?:"(?:[^"]|"")*+"|[^SEP"]*+)'  # no quote is a character


def _broken(lines: text.Lines, separator: str, columns: int) -> dict[int, str]:
    """{line: reason} of the lines that would spoil their neighbours, or hold no text."""

    def row(value: bytes, more: bytes) -> re.Pattern[bytes]:
        sign = re.escape(separator.encode())
        return re.compile((value + rb"(?:SEP" + value + rb")" + more).replace(b"SEP", sign))

    whole, strict = row(_VALUE, b"*+"), row(_STRICT, b"{%d}" % (columns - 1))
    suspected = np.flatnonzero(_suspected(lines, ord(separator))).tolist()
    found = dict.fromkeys([n for n in suspected if not whole.fullmatch(lines.line(n))], OPEN)
    for n in list(found):
        if found[n] == OPEN and (last := _closed(lines, n, strict)):
            found |= {n: BREAK} | dict.fromkeys(range(n + 1, last + 1), CONTINUED)
    places = lines.places(text.RETURN)
    of = lines.at(places)
    return found | dict.fromkeys(of[places < lines.ends[of]].tolist(), RETURN) | lines.not_text()


def _suspected(lines: text.Lines, separator: int) -> Bool[np.ndarray, " L"]:
    """The lines where some quote may not close.

    Quotes open and close in turn, each opening one after a separator, or after a closing one: two
    inside of a value stand for one. Where an opening one does not, quotes may be characters.
    """
    data, starts = lines.data, lines.starts
    quotes = lines.places(QUOTE)
    before = np.searchsorted(quotes, starts)  # quotes before each line
    counts = np.diff(before, append=len(quotes))
    line = np.repeat(np.arange(len(starts)), counts)
    opening = (np.arange(len(quotes)) - before[line]) % 2 == 0
    sign = data[np.maximum(quotes - 1, 0)]
    good = ~opening | (quotes == starts[line]) | (sign == separator) | (sign == QUOTE)
    suspected = counts % 2 == 1
    suspected[line[~good]] = True
    return suspected


def _closed(lines: text.Lines, first: int, row: re.Pattern[bytes]) -> int:
    """The line with which a row ends whose quoted values have line breaks; 0 if there is none."""
    joined = lines.line(first)
    for n in range(first + 1, min(first + LONGEST, len(lines.starts))):
        joined += b"\n" + (line := lines.line(n))
        if line.count(b'"') % 2:  # all quotes are closed
            return n if row.fullmatch(joined) else 0
    return 0
