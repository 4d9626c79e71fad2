"""JSON lines: an object a line, which DuckDB parses. A chunk's columns have the types of its values
and of the file's first lines."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from dtn_jax.data import keys
from dtn_jax.data.raw import lines as text
from dtn_jax.data.raw import types as column_types
from dtn_jax.data.raw.files import RawFile
from dtn_jax.data.raw.types import LIST_OF, LONG, NESTED, Chunk, Kinds, Pieces, Reject, Types, Unit
from dtn_jax.data.schemas.spec import InputSpec
from dtn_jax.errors import UserError
from dtn_jax.shapes import Bool, Int, UInt8

HEAD = 4 << 20  # bytes, and
HEAD_LINES = 2_000  # lines from which columns and types are inferred
EXACT = 2**53  # up to here a float holds every whole number

BROKEN = "a line that is not JSON"
NO_OBJECT = "a line that is not an object"
NOT_SCALAR = "a list where a single value is expected"
NOT_LIST = "a single value where a list is expected"
IS_NESTED = "an object or a list of lists"
MISSING, TEXT, NUMBER, TRUTH, LIST, OBJECT = range(6)
TYPES = np.full(256, NUMBER, np.uint8)  # of a value, by the first byte of its JSON
KINDS = {TEXT: "text", TRUTH: "truth", LIST: NESTED, OBJECT: NESTED}  # of the others, see _numbers
TYPES[list(b'n"tf[{')] = MISSING, TEXT, TRUTH, TRUTH, LIST, OBJECT


def schema(file: RawFile, input: InputSpec) -> Types:
    """The columns of the file's first lines; a nested one is a Struct."""
    return {name: column_types.of_kinds(kinds) for name, kinds in _head(file).items()}


def pieces(file: RawFile, input: InputSpec, rows: int, size: int) -> Pieces:
    """(start, stop, first line, lines) of the pieces."""
    return text.ranges(file, text.after_mark(file), 1, size)


def chunks(
    file: RawFile,
    unit: Unit,
    columns: Sequence[str],
    rows: int,
    input: InputSpec,
    lists: Collection[str] | None = None,
) -> Iterator[Chunk]:
    """The unit's rows; see `read.chunks`. A chunk has its columns' kinds."""
    known = _head(file)
    for lines in text.blocks(file, unit, rows):
        values, numbers, rejects = _parsed(lines, columns)
        if not len(numbers) and not rejects:
            continue
        frame, kinds = {}, {}
        for name, column in values.items():
            others = known.get(name, set())
            listed = name in lists if lists is not None else _is_listed(column, others)
            frame[name], kinds[name], misfits = _column(column, listed, others)
            for row, reason in misfits.items():
                number = int(numbers[row])
                shown = str(column[row])
                rejects.setdefault(number, Reject(number, reason, name, shown))
        yield Chunk(pl.DataFrame(frame), numbers, [rejects[n] for n in sorted(rejects)], kinds)


def _parsed(
    lines: text.Lines, names: Sequence[str]
) -> tuple[dict[str, pa.Array], Int[np.ndarray, " R"], dict[int, Reject]]:
    """The values of the lines that are objects, the numbers of these, and {number: why it is none}
    of the others."""
    bad = lines.not_text()
    read = np.ones(len(lines.starts), bool)
    read[list(bad)] = False
    every = _binary(lines)
    every = (every.filter(pa.array(read)) if bad else every).cast(pa.large_string())
    places, (valid, objects, values) = np.flatnonzero(read), _values(every, names)
    bad |= {n: NO_OBJECT for n in places[~objects].tolist() if lines.line(n).strip()}
    bad |= {n: BROKEN for n in places[~valid].tolist() if n in bad}
    first = lines.first
    rejects = {first + n: Reject(first + n, why, "", lines.shown(n)) for n, why in bad.items()}
    return values, first + places[objects], rejects


def _binary(lines: text.Lines) -> pa.Array:
    """The lines' bytes, each with its line end."""
    offsets = np.append(lines.starts, len(lines.data)).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(lines.data))]
    return pa.Array.from_buffers(pa.large_binary(), len(lines.starts), buffers)


def _head(file: RawFile) -> dict[str, Kinds]:
    """The kinds of each column's values in the file's first lines."""
    head = b"\n".join(text.head(file, HEAD).split(b"\n", HEAD_LINES)[:HEAD_LINES])
    return _kinds_of_lines(file.address, head)


@functools.lru_cache(maxsize=8)  # a file is begun for every unit
def _kinds_of_lines(address: str, data: bytes) -> dict[str, Kinds]:
    texts = [line.decode(errors="replace") for line in data.split(b"\n")]
    lines = pa.array(texts, pa.large_string())
    read = "TRY(json_type(line)) AS type, TRY(json_keys(line)) AS keys FROM lines"
    table = _run(read, lines)
    objects = pc.equal(_whole(table["type"]), "OBJECT").fill_null(False)
    if not objects.true_count and data.strip():
        array = data.lstrip().startswith(b"[")
        hint = "; it is an array: write a line for each of its items" * array
        raise UserError(f"{address}: none of the first {len(lines)} lines is a JSON object{hint}")
    every = _whole(table["keys"]).filter(objects).to_pylist()
    names = list(dict.fromkeys(itertools.chain.from_iterable(every)))
    values = _values(lines.filter(objects), names)[2] if names else {}
    return {name: _column(column, _is_listed(column))[1] for name, column in values.items()}


def _is_listed(values: pa.Array, known: Kinds = frozenset()) -> bool:
    """Whether a column holds lists: if its file's first lines have values of it, by these, else
    where it has more lists than single values, or as many, and some."""
    if known:
        return column_types.is_listed(known)
    types = _types(values)
    lists = (types == LIST).sum()
    return bool(lists) and 2 * lists >= (types != MISSING).sum()


def _types(values: pa.Array) -> UInt8[np.ndarray, " R"]:
    """The types of values that are JSON; MISSING of null."""
    offsets = np.frombuffer(values.buffers()[1], np.int32)
    starts = offsets[values.offset : values.offset + len(values) + 1]
    data = np.frombuffer(values.buffers()[2] or b"n", np.uint8)
    there = np.diff(starts) > 0
    return np.where(there, TYPES[data[np.where(there, starts[:-1], 0)]], MISSING)


def _column(
    values: pa.Array, listed: bool, known: Kinds = frozenset()
) -> tuple[pl.Series, Kinds, dict[int, str]]:
    """A column; the kinds of its values; and {row: why it cannot hold its value}, null there.

    Args:
      values: JSON.
      listed: whether the column holds lists.
      known: kinds of its values elsewhere: its type is one that holds them, too.
    """
    types = _types(values)
    is_list = types == LIST
    others = ~is_list & (types != MISSING) if listed else is_list
    reasons = dict.fromkeys(np.flatnonzero(others).tolist(), NOT_LIST if listed else NOT_SCALAR)
    reasons |= dict.fromkeys(np.flatnonzero(types == OBJECT).tolist(), IS_NESTED)
    known = {kind.removeprefix(LIST_OF) for kind in known if kind.startswith(LIST_OF) == listed}
    lengths = np.zeros(len(values), np.int64)
    items, lengths[is_list] = _items(values.filter(pa.array(is_list)))
    of_items = _types(items)
    nested = np.repeat(np.arange(len(values)), lengths)[np.isin(of_items, [LIST, OBJECT])]
    reasons |= dict.fromkeys(nested.tolist(), IS_NESTED)
    if not listed:
        return *_single(values, np.where(is_list, MISSING, types), known), reasons
    inner, kinds = _single(items, of_items, known)
    if is_list.any():
        kinds = kinds or {"nothing"}
    is_list[nested] = False
    column = column_types.lists(inner, lengths, ~is_list)
    return column, {LIST_OF + kind for kind in kinds}, reasons


def _single(
    values: pa.Array, types: UInt8[np.ndarray, " R"], known: Kinds
) -> tuple[pl.Series, Kinds]:
    """Single values in a type that holds them, and what is `known`; and their kinds."""
    column, there = pl.Series(values), set(np.flatnonzero(np.bincount(types)).tolist())
    if there & {LIST, OBJECT, MISSING}:
        column = column.set(pl.Series(np.isin(types, [LIST, OBJECT, MISSING])), None)
    kinds, whole, floats = {KINDS[type] for type in there if type in KINDS}, column, None
    if TEXT in there:
        column = _unquoted(column, values)
    if NUMBER in there:
        others = there & {TEXT, TRUTH}
        numbers = column.set(pl.Series(types != NUMBER), None) if others else column
        whole, floats, of_numbers = _numbers(numbers)
        kinds |= of_numbers
    kind = column_types.of_kinds((kinds | known) - {NESTED})
    if kind == pl.Boolean:
        return column == "true", kinds
    if kind == pl.String and floats is not None:
        written = keys.text(column.filter(floats).cast(pl.Float64))
        column = column.scatter(floats.arg_true(), written)
    return (whole if kind == pl.Int64 else column).cast(kind), kinds


def _numbers(numbers: pl.Series) -> tuple[pl.Series, pl.Series | None, Kinds]:
    """Numbers, which are JSON, as whole ones; where they are floats, if some are; their kinds."""
    whole, kinds = numbers.cast(pl.Int64, strict=False), set()
    if whole.count():
        kinds.add(LONG if max(whole.max(), -whole.min()) >= EXACT else "whole")
    if whole.count() == numbers.count():
        return whole, None, kinds
    others = numbers.is_not_null() & whole.is_null()
    floats = others & numbers.str.contains(r"[.a-zA-Z]")
    beyond = others & ~floats  # 64 bits
    kinds |= {name for name, some in (("number", floats), ("text", beyond)) if some.any()}
    return whole, floats, kinds


# What DuckDB does.

_local = threading.local()


def _run(expressions: str, lines: pa.Array) -> pa.Table:
    """Expressions of each of the lines, in their order."""
    if not hasattr(_local, "database"):
        import duckdb  # which other formats, and scoring of them, do without

        settings = {"threads": 1, "autoload_known_extensions": False}
        _local.database = duckdb.connect(config=settings | {"preserve_insertion_order": True})
    _local.database.register("lines", pa.table({"line": lines}))
    return _local.database.sql(f"SELECT {expressions}").to_arrow_table()


def _values(
    lines: pa.Array, names: Sequence[str]
) -> tuple[Bool[np.ndarray, " L"], Bool[np.ndarray, " L"], dict[str, pa.Array]]:
    """Which lines are JSON, which are objects, and of these {column: its values as JSON}."""
    paths = ", ".join(map(_path, names))
    each = "".join(f", parts[{place + 1}]" for place in range(len(names)))
    read = f"SELECT line, TRY(json_extract(line, [{paths}])) AS parts FROM lines"
    valid, *values = map(_whole, _run(f"parts IS NOT NULL{each} FROM ({read})", lines).columns)
    valid = valid.to_numpy(False)
    objects = valid & pc.starts_with(lines, "{").to_numpy(False)
    if not objects.all():
        others = _run("TRY(json_type(line)) FROM lines", lines.filter(pa.array(~objects)))
        objects[~objects] = _whole(others.column(0)).to_numpy(False) == "OBJECT"
        values = [column.filter(pa.array(objects)) for column in values]
    return valid, objects, dict(zip(names, values, strict=True))


def _items(lists: pa.Array) -> tuple[pa.Array, Int[np.ndarray, " R"]]:
    """The values of JSON lists, one list's after another's, and how many each has."""
    if not len(lists):
        return lists, np.empty(0, np.int64)
    lists = _whole(_run("json_extract(line, '$[*]') FROM lines", lists).column(0))
    counts = pc.list_value_length(lists).to_numpy(False)
    return lists.flatten(), counts.astype(np.int64)


def _unquoted(column: pl.Series, values: pa.Array) -> pl.Series:
    """Texts for those of JSON; other values as they are."""
    texts = column.str.strip_prefix('"').str.strip_suffix('"')
    if b"\\" not in values.buffers()[2].to_pybytes():
        return texts
    escaped = column.str.contains("\\", literal=True).fill_null(False)
    json = column.filter(escaped).to_arrow()
    read = _whole(_run("json_extract_string(line, '$') FROM lines", json).column(0))
    return texts.scatter(escaped.arg_true(), pl.Series(read))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """In one piece, which has a buffer of its own."""
    return pa.concat_arrays(column.chunks or [pa.array([], column.type)])


def _path(name: str) -> str:
    """A name as a JSON path in a text of SQL."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("'", "''")
    return f"""'$."{escaped}"'"""
