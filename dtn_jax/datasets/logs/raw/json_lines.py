"""JSON lines: an object a line."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from typing import no_type_check

import numpy as np
import polars as pl
import pyarrow as pa

from dtn_jax.datasets.logs.raw import arrow_types, json_types
from dtn_jax.datasets.logs.raw import lines as text
from dtn_jax.datasets.logs.raw.files import RawFile
from dtn_jax.datasets.logs.raw.json_types import Kinds
from dtn_jax.datasets.logs.raw.rejects import Reject
from dtn_jax.datasets.logs.raw.unit import Chunk, Types, Unit
from dtn_jax.errors import UserError

HEAD = 4 << 20  # bytes, and
HEAD_LINES = 2_000  # lines from which columns and types are inferred
PIECES = 20  # of the rest, and
PIECE = 1 << 15  # bytes of each, in which columns are looked for that the first lines lack

BROKEN = "a line that is not JSON"
NO_OBJECT = "a line that is not an object"
BLANK = " \t\r"

_decode = json.JSONDecoder().raw_decode


def schema(file: RawFile) -> Types:
    """The columns of the file's first lines, and of others; a nested one is a Struct."""
    return arrow_types.schema(pa.schema([(n, kinds.type()) for n, kinds in _kinds(file).items()]))


def pieces(file: RawFile, size: int) -> list[tuple[int, int, int, int]]:
    """(start, stop, first line, lines) of the pieces."""
    return text.ranges(file, text.after_mark(file), 1, size)


def chunks(file: RawFile, unit: Unit, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
    """The unit's rows; see `read.chunks`."""
    known = _kinds(file)
    expected = {name: known.get(name, Kinds()) for name in columns}  # the first lines may lack it
    for name in columns:
        if expected[name].nested:
            raise UserError(
                f"{file.address}: column {name!r} has objects or lists of lists; expected numbers, "
                "text or lists of them: make a column of each of its parts"
            )
    for lines in text.blocks(file, unit, rows):
        found, numbers, broken = _parse(lines, columns)
        values = dict(zip(columns, map(list, zip(*found)))) or {name: [] for name in columns}
        told = {n: Kinds.expected(values[n]) if expected[n].empty else expected[n] for n in columns}
        escapes = _has_escapes(lines)
        misfits, others, places = _misfits(values, told, escapes), None, ()
        if misfits:
            places = tuple(numbers[row] for row in sorted(misfits))
            others = _fitting(values, told, sorted(misfits))
            broken += [
                Reject(numbers[row], reason, name, _shown(values[name][row]))
                for row, (name, reason) in misfits.items()
            ]
            kept = [row for row in range(len(numbers)) if row not in misfits]
            numbers = [numbers[row] for row in kept]
            values = {name: [column[row] for row in kept] for name, column in values.items()}
            broken.sort(key=lambda reject: reject.row)
        if numbers or broken:
            read = {n: json_types.series(values[n], told[n]) for n in columns}
            whole = np.asarray(numbers, np.int64)
            yield Chunk(pl.DataFrame(read), whole, broken, others, places)


def _kinds(file: RawFile) -> dict[str, Kinds]:
    """The kinds of each column's values in the file's first lines, or in some of the others."""
    head = b"\n".join(text.head(file, HEAD).split(b"\n", HEAD_LINES)[:HEAD_LINES])
    others, rest = b"", 0 if file.packed else file.size - len(head)
    if rest > PIECE:
        with text.opened(file) as source:
            for at in range(len(head), file.size, max(rest // PIECES, PIECE)):
                source.seek(at)
                piece = source.read(PIECE)
                others += piece[piece.find(b"\n") + 1 : piece.rfind(b"\n") + 1]
    first = _kinds_of(file.address, head, True)
    return first | _kinds_of(file.address, others) | first


@functools.lru_cache(maxsize=8)  # a file is begun for every unit, and by both passes
def _kinds_of(address: str, lines: bytes, first: bool = False) -> dict[str, Kinds]:
    objects = [found for line in lines.split(b"\n") if isinstance(found := _object(line), dict)]
    if first and not objects and lines.strip():
        hint = "; it is an array: write a line for each of its items" * lines.lstrip().startswith(
            b"["
        )
        count = lines.count(b"\n") + 1
        raise UserError(f"{address}: none of the first {count} lines is a JSON object{hint}")
    names = dict.fromkeys(name for row in objects for name in row if _is_unicode(name))
    columns = {name: [row.get(name) for row in objects] for name in names}
    return {name: Kinds.expected(column) for name, column in columns.items()}


@no_type_check  # called for every line or value
def _object(line: bytes) -> dict | str:
    """A line's object, or why it has none."""
    try:
        stripped = line.decode().strip(BLANK)
    except UnicodeDecodeError:
        return text.NOT_UTF8
    try:
        found, end = _decode(stripped)
    except (ValueError, RecursionError):  # a ValueError too for a number of thousands of digits
        return text.NUL if b"\0" in line else BROKEN
    if end != len(stripped):
        return text.NUL if b"\0" in line else BROKEN
    return found if type(found) is dict else NO_OBJECT


def _parse(
    lines: text.Lines, columns: Sequence[str]
) -> tuple[list[tuple], list[int], list[Reject]]:
    """The columns' values in each object, the objects' lines, and the lines that hold none."""
    rows, numbers, broken = [], [], []
    data = lines.data.tobytes()
    for n, (start, end) in enumerate(zip(lines.starts.tolist(), lines.ends.tolist())):
        line = data[start:end]
        found = _object(line)
        if type(found) is dict:
            rows.append(tuple(map(found.get, columns)))
            numbers.append(lines.first + n)
        elif line.strip():
            broken.append(Reject(lines.first + n, found, value=text.shown(line)))
    return rows, numbers, broken


def _has_escapes(lines: text.Lines) -> bool:
    r"""Whether a text may hold half a surrogate pair, which only `\ud…` can write."""
    data = lines.data.tobytes()
    return b"\\ud" in data or b"\\uD" in data


def _misfits(
    values: dict[str, list], expected: dict[str, Kinds], escapes: bool
) -> dict[int, tuple[str, str]]:
    """{row: (column, reason)} of values that their columns cannot hold."""
    found = {}
    for name, column in values.items():
        if escapes or json_types.may_misfit(Kinds.of(column), expected[name]):
            for row, value in enumerate(column):
                reason = _why(value, expected[name])
                if reason:
                    found.setdefault(row, (name, reason))
    return found


def _why(value: object, expected: Kinds) -> str:
    """Why a column cannot hold a value; '' if it can."""
    reason = json_types.misfit(value, expected)
    return reason or ("" if _is_unicode(value) else json_types.NO_TEXT)


def _fitting(values: dict[str, list], expected: dict[str, Kinds], rows: list[int]) -> pl.DataFrame:
    """Rows that hold misfits, null in their place."""
    found = {}
    for name, column in values.items():
        kept = [None if _why(column[row], expected[name]) else column[row] for row in rows]
        found[name] = json_types.series(kept, expected[name])
    return pl.DataFrame(found)


@no_type_check  # called for every line or value
def _is_unicode(value: object) -> bool:
    if type(value) is list:
        return all(map(_is_unicode, value))
    try:
        return type(value) is not str or bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def _shown(value: object) -> str:
    return json.dumps(value)
