"""CSV files: every column comes as text. Broken lines are found before pyarrow parses the rest."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.csv as pacsv

from dtn_jax.datasets.logs.raw import lines as text
from dtn_jax.datasets.logs.raw.files import RawFile
from dtn_jax.datasets.logs.raw.rejects import Reject
from dtn_jax.datasets.logs.raw.unit import Chunk, Types, Unit
from dtn_jax.datasets.logs.schema.spec import InputSpec
from dtn_jax.errors import UserError
from dtn_jax.shapes import Bool, Int

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


def pieces(file: RawFile, input: InputSpec, size: int) -> list[tuple[int, int, int, int]]:
    """(start, stop, first line, lines) of the pieces below the header."""
    _, start, first = _header(file, input)
    return text.ranges(file, start, first, size)


def chunks(
    file: RawFile, unit: Unit, columns: Sequence[str], input: InputSpec, rows: int
) -> Iterator[Chunk]:
    """The unit's rows, the columns as String; see `read.chunks`."""
    names, separator = _header(file, input)[0], _separator(file, input)
    parse = pacsv.ParseOptions(delimiter=separator)
    convert = pacsv.ConvertOptions(
        column_types=dict.fromkeys(columns, pa.string()),
        include_columns=list(columns),
        null_values=["", *input.missing],
        strings_can_be_null=True,
        check_utf8=False,  # checked here
    )
    for lines in text.blocks(file, unit, rows):
        reasons = _broken(lines, ord(separator), len(names))
        kept = lines.ends > lines.starts  # others are blank
        kept[list(reasons)] = False
        broken = [
            Reject(lines.first + n, reason, value=text.shown(lines.line(n)))
            for n, reason in sorted(reasons.items())
            if reason != CONTINUED
        ]
        numbers = lines.first + np.flatnonzero(kept)
        if not len(numbers):
            if broken:
                yield Chunk(pl.DataFrame(schema=dict.fromkeys(columns, pl.String)), numbers, broken)
            continue
        clean = _only(lines, kept) if reasons else lines.data
        read = pacsv.ReadOptions(use_threads=False, column_names=names, block_size=len(clean) + 1)
        try:
            table = pacsv.read_csv(pa.py_buffer(clean), read, parse, convert)
        except pa.ArrowInvalid as error:
            raise UserError(_place(file, lines, str(error))) from None
        if len(table) != len(numbers):
            told = f"{len(table)} rows are read of {len(numbers)} lines"
            raise UserError(_place(file, lines, told))
        yield Chunk(pl.from_arrow(table.select(list(columns))), numbers, broken)


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
        told = ", ".join(map(repr, twice))
        raise UserError(f"{file.address}: the header, line {number}, has {told} more than once")
    return names, begins + len(line), number + 1


def _separator(file: RawFile, input: InputSpec) -> str:
    if len(input.separator.encode()) != 1 or input.separator in '"\r\n':
        raise UserError(f"input.separator={input.separator!r}; expected one ASCII character")
    tabs = file.address.lower().removesuffix(".gz").endswith(".tsv")
    return "\t" if tabs and input.separator == InputSpec().separator else input.separator


def _broken(lines: text.Lines, separator: int, columns: int) -> dict[int, str]:
    """{line: reason} of the lines that are no row of so many columns."""
    found = {}
    counts, suspected = _counts(lines, separator)
    blank = lines.ends == lines.starts
    for n in np.flatnonzero((counts != columns) & ~blank & ~suspected).tolist():
        found[n] = _wrong(int(counts[n]), columns)
    value = re.compile(_VALUE.replace(b"SEP", re.escape(bytes([separator]))))
    for n in np.flatnonzero(suspected).tolist():
        if (count := _count(lines.line(n), value)) != columns:
            found[n] = _wrong(count, columns) if count else OPEN
    strict = re.compile(_STRICT.replace(b"SEP", re.escape(bytes([separator]))))
    for n in [n for n, reason in found.items() if reason == OPEN]:
        if found[n] == OPEN and (last := _closed(lines, n, strict, columns)):
            found |= {n: BREAK} | dict.fromkeys(range(n + 1, last + 1), CONTINUED)
    for n in _lone_returns(lines):
        found[n] = RETURN
    for n in text.not_utf8(lines):
        found[n] = text.NOT_UTF8
    for n in lines.holding(0).tolist():
        found[n] = text.NUL
    return found


def _wrong(count: int, columns: int) -> str:
    return "too few columns" if count < columns else "too many columns"


def _counts(
    lines: text.Lines, separator: int
) -> tuple[Int[np.ndarray, " L"], Bool[np.ndarray, " L"]]:
    """Columns of each line, and the lines whose quotes make that number uncertain."""
    data, starts = lines.data, lines.starts
    separators = np.flatnonzero(data == separator)
    counts = np.diff(np.searchsorted(separators, np.append(starts, len(data))))
    quotes = np.flatnonzero(data == QUOTE)
    suspected = np.zeros(len(starts), bool)
    if not len(quotes):
        return counts + 1, suspected
    # Quotes open and close in turn, each opening one after a separator, or after a closing one: two
    # inside of a value stand for one. Where an opening one does not, quotes may be characters.
    numbers = np.arange(len(starts))
    per_line = np.diff(np.searchsorted(quotes, np.append(starts, len(data))))
    line, of = np.repeat(numbers, per_line), np.repeat(numbers, counts)  # of quotes and separators
    seen = np.cumsum(data == QUOTE, dtype=np.uint8)  # modulo 256, which keeps odd and even apart
    seen_before = np.where(starts > 0, seen[starts - 1], 0).astype(np.uint8)
    opening = (seen[quotes] - seen_before[line]) % 2 == 1
    inside = (seen[separators] - seen_before[of]) % 2 == 1
    before = data[np.maximum(quotes - 1, 0)]
    good = ~opening | (quotes == starts[line]) | (before == separator) | (before == QUOTE)
    suspected[line[~good]] = True
    suspected |= per_line % 2 == 1
    if inside.any():
        counts = counts - np.bincount(of[inside], minlength=len(starts))
    return counts + 1, suspected


# A value: quoted, with whatever follows the closing quote; or plain, where quotes are characters.
_VALUE = rb'"(?:[^"]|"")*+"[^SEP]*+|(?!")[^SEP]*+'


_STRICT = rb'"(?:[^"]|"")*+"(?=SEP|\Z)|[^SEP"]*+(?=SEP|\Z)'  # no quote is a character


def _closed(lines: text.Lines, first: int, value: re.Pattern[bytes], columns: int) -> int:
    """The line with which a row ends whose quoted values have line breaks; 0 if there is none."""
    row = lines.line(first)
    for n in range(first + 1, min(first + LONGEST, len(lines.starts))):
        row += b"\n" + (line := lines.line(n))
        if line.count(b'"') % 2:  # all quotes are closed
            return n if _count(row, value) == columns else 0
    return 0


def _count(line: bytes, value: re.Pattern[bytes]) -> int:
    """Columns of a line; 0 if a quote does not close."""
    place, columns = 0, 1
    while match := value.match(line, place):
        if match.end() == len(line):
            return columns
        columns, place = columns + 1, match.end() + 1
    return 0


def _lone_returns(lines: text.Lines) -> list[int]:
    """The lines that hold a carriage return before their end."""
    places = np.flatnonzero(lines.data == text.RETURN)
    of = lines.at(places)
    return np.unique(of[places < lines.ends[of]]).tolist()


def _only(lines: text.Lines, kept: Bool[np.ndarray, " L"]) -> np.ndarray:
    """The bytes of some of the lines."""
    stops = np.append(lines.starts[1:], len(lines.data))
    return lines.data[np.repeat(kept, stops - lines.starts)]


def _place(file: RawFile, lines: text.Lines, told: str) -> str:
    last = lines.first + len(lines.starts) - 1
    return f"{file.address}: lines {lines.first} to {last} cannot be read as CSV: {told}"
