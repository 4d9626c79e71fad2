"""JSON lines: an object a line, which DuckDB parses. Values are texts until their type is known."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from dtn_jax.data.raw import lines as text
from dtn_jax.data.raw import types as column_types
from dtn_jax.data.raw.files import RawFile
from dtn_jax.data.raw.types import LIST_OF, LONG, NESTED, Kinds, Types
from dtn_jax.data.raw.unit import Chunk, Reject, Unit
from dtn_jax.errors import UserError
from dtn_jax.shapes import Bool, Int

HEAD = 4 << 20  # bytes, and
HEAD_LINES = 2_000  # lines from which columns and types are inferred
PIECES = 20  # of the rest, and
PIECE = 1 << 15  # bytes of each, in which columns are looked for that the first lines lack
EXACT = 2**53  # up to here a float holds every whole number

BROKEN = "a line that is not JSON"
NO_OBJECT = "a line that is not an object"
NOT_SCALAR = "a list where a single value is expected"
NOT_LIST = "a single value where a list is expected"
IS_NESTED = "an object or a list of lists"
# DuckDB's types of values, by number; all others are of whole numbers.
TYPES = (None, "NULL", "VARCHAR", "DOUBLE", "BOOLEAN", "ARRAY", "OBJECT")
MISSING, TEXT, NUMBER, TRUTH, LIST, OBJECT, WHOLE = range(1, 8)
KINDS = {TEXT: "text", NUMBER: "number", TRUTH: "truth", LIST: NESTED, OBJECT: NESTED}


def schema(file: RawFile) -> Types:
    """The columns of the file's first lines, and of others; a nested one is a Struct."""
    return {name: column_types.of_kinds(kinds) for name, kinds in _head(file).items()}


def pieces(file: RawFile, size: int) -> list[tuple[int, int, int, int]]:
    """(start, stop, first line, lines) of the pieces."""
    return text.ranges(file, text.after_mark(file), 1, size)


def chunks(
    file: RawFile,
    unit: Unit,
    columns: Sequence[str],
    rows: int,
    as_is: bool = False,
    lists: Collection[str] | None = None,
) -> Iterator[Chunk]:
    """The unit's rows; see `read.chunks`. A chunk has its columns' kinds."""
    known = {name: kinds for name, kinds in _head(file).items() if name in columns}
    for name, kinds in known.items():
        if column_types.of_kinds(kinds) == pl.Struct:
            raise UserError(
                f"{file.address}: column {name!r} has objects or lists of lists; expected numbers, "
                "text or lists of them: make a column of each of its parts"
            )

    def listed(name: str, types: Int[np.ndarray, " R"]) -> bool:
        if lists is not None:
            return name in lists
        kinds = known.get(name)
        return column_types.is_listed(kinds) if kinds else _lists_prevail(types)

    for lines in text.blocks(file, unit, rows):
        objects, numbers, rejects = _parsed(lines)
        if not len(numbers) and not rejects:
            continue
        frame, kinds = {}, {}
        for name, texts, types in _values(objects, columns):
            frame[name], kinds[name], misfits = _column(texts, types, listed(name, types))
            kinds[name] -= {NESTED, LIST_OF + NESTED}
            for row, reason in misfits.items():
                quotes = '"' if reason == NOT_LIST and types[row] == TEXT else ""
                shown, number = f"{quotes}{texts[row]}{quotes}", int(numbers[row])
                rejects.setdefault(number, Reject(number, reason, name, shown))
            if lists is None:
                kind = column_types.of_kinds(kinds[name] | known.get(name, set()))
                frame[name] = column_types.as_type(frame[name], kind)
        good = ~np.isin(numbers, list(rejects))
        found = pl.DataFrame(frame)
        if not as_is and not good.all():
            found, numbers = found.filter(pl.Series(good)), numbers[good]
        yield Chunk(found, numbers, [rejects[n] for n in sorted(rejects)], kinds)


def _parsed(lines: text.Lines) -> tuple[pa.Array, Int[np.ndarray, " R"], dict[int, Reject]]:
    """The lines that are objects, their numbers, and {number: why it is none} of the others."""
    bad = lines.not_text()
    read = np.ones(len(lines.starts), bool)
    read[list(bad)] = False
    every = _binary(lines).filter(pa.array(read)).cast(pa.large_string())
    places, (valid, objects) = np.flatnonzero(read), _objects(every)
    bad |= {n: NO_OBJECT for n in places[~objects].tolist() if lines.line(n).strip()}
    bad |= {n: BROKEN for n in places[~valid].tolist() if n in bad}
    first = lines.first
    rejects = {first + n: Reject(first + n, why, "", lines.shown(n)) for n, why in bad.items()}
    return every.filter(pa.array(objects)), first + places[objects], rejects


def _binary(lines: text.Lines) -> pa.Array:
    """The lines' bytes, each with its line end."""
    offsets = np.append(lines.starts, len(lines.data)).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(lines.data))]
    return pa.Array.from_buffers(pa.large_binary(), len(lines.starts), buffers)


def _head(file: RawFile) -> dict[str, Kinds]:
    """The kinds of each column's values in the file's first lines, or in some of the others."""
    head = b"\n".join(text.head(file, HEAD).split(b"\n", HEAD_LINES)[:HEAD_LINES])
    others, rest = b"", 0 if file.packed else file.size - len(head)
    if rest > PIECE:
        with text.opened(file) as source:
            for at in range(len(head), file.size, max(rest // PIECES, PIECE)):
                source.seek(at)
                piece = source.read(PIECE)
                others += piece[piece.find(b"\n") + 1 : piece.rfind(b"\n") + 1]
    first = _kinds_of_lines(file.address, head, True)
    return first | _kinds_of_lines(file.address, others) | first


@functools.lru_cache(maxsize=8)  # a file is begun for every unit
def _kinds_of_lines(address: str, data: bytes, first: bool = False) -> dict[str, Kinds]:
    texts = [line.decode(errors="replace") for line in data.split(b"\n")]
    lines = pa.array(texts, pa.large_string())
    _, objects = _objects(lines)
    if first and not objects.any() and data.strip():
        array = data.lstrip().startswith(b"[")
        hint = "; it is an array: write a line for each of its items" * array
        raise UserError(f"{address}: none of the first {len(lines)} lines is a JSON object{hint}")
    there = lines.filter(pa.array(objects))
    keys = _run("json_keys(line) AS keys", there)["keys"].to_pylist()
    names = list(dict.fromkeys(itertools.chain.from_iterable(keys)))
    return {
        name: _column(column, types, _lists_prevail(types))[1]
        for name, column, types in _values(there, names)
    }


def _lists_prevail(types: Int[np.ndarray, " R"]) -> bool:
    """Whether a column has more lists than single values, or as many, and some."""
    lists = (types == LIST).sum()
    return bool(lists) and 2 * lists >= (types != MISSING).sum()


def _column(
    values: pa.Array, types: Int[np.ndarray, " R"], listed: bool
) -> tuple[pl.Series, Kinds, dict[int, str]]:
    """A column of texts, or of lists of texts; its kinds; and {row: why it cannot hold its value}.

    A value that does not fit is null.

    Args:
      values: as texts, lists as JSON.
      types: of the values.
      listed: whether the column holds lists.
    """
    is_list = types == LIST
    others = ~is_list & (types != MISSING) if listed else is_list
    reasons = dict.fromkeys(np.flatnonzero(others).tolist(), NOT_LIST if listed else NOT_SCALAR)
    reasons |= dict.fromkeys(np.flatnonzero(types == OBJECT).tolist(), IS_NESTED)
    kinds = set() if listed else _kinds(values, np.where(is_list, MISSING, types))
    items, counts = values[:0], np.zeros(len(values), np.int64)
    if is_list.any():
        items, of_items, counts[is_list] = _items(values.filter(pa.array(is_list)))
        nested = np.isin(of_items, [LIST, OBJECT])
        rows = np.repeat(np.arange(len(counts)), counts)[nested]
        reasons |= dict.fromkeys(rows.tolist(), IS_NESTED)
        if listed:
            kinds = {LIST_OF + kind for kind in _kinds(items, of_items) or {"nothing"}}
    if listed:
        offsets = pa.array(np.append(0, np.cumsum(counts)))
        values = pa.LargeListArray.from_arrays(offsets, items, mask=pa.array(~is_list))
    column = pl.Series(values)
    if reasons:
        fits = np.ones(len(column), bool)
        fits[list(reasons)] = False
        column = pl.select(pl.when(pl.Series(fits)).then(column)).to_series()
    return column, kinds, reasons


def _kinds(values: pa.Array, types: Int[np.ndarray, " R"]) -> Kinds:
    """The kinds of values, which are texts."""
    there = set(np.unique(types).tolist()) - {MISSING}
    found = {KINDS.get(type, "whole") for type in there}
    if NUMBER in there:
        numbers = values.filter(pa.array(types == NUMBER))
        if pc.any(pc.match_substring_regex(numbers, r"^-?[0-9]+$")).as_py():  # beyond 64 bits
            found.add("text")
    if WHOLE in there:
        whole = pl.Series(values.filter(pa.array(types == WHOLE)))
        numbers = whole.cast(pl.Int64, strict=False)
        beyond = numbers.null_count() > 0  # 64 bits
        if beyond or (numbers.cast(pl.Float64).abs().max() or 0) >= EXACT:
            found = found - {"whole"} | {"text" if beyond else LONG}
    return found


# What DuckDB does.

_local = threading.local()


def _run(expressions: str, lines: pa.Array) -> pa.Table:
    """Expressions of each of the lines, in their order."""
    if not hasattr(_local, "database"):
        import duckdb  # which other formats, and scoring of them, do without

        settings = {"threads": 1, "autoload_known_extensions": False}
        _local.database = duckdb.connect(config=settings | {"preserve_insertion_order": True})
    _local.database.register("lines", pa.table({"line": lines}))
    found = _local.database.sql(f"SELECT {expressions} FROM lines")
    return found.to_arrow_table().combine_chunks()


def _objects(lines: pa.Array) -> tuple[Bool[np.ndarray, " L"], Bool[np.ndarray, " L"]]:
    """Which lines are JSON, and which of them are objects."""
    types = _run("TRY(json_type(line)) AS found", lines)["found"]
    objects = pc.equal(types, TYPES[OBJECT]).fill_null(False)
    return types.is_valid().to_numpy(), objects.to_numpy()


def _values(
    objects: pa.Array, names: Sequence[str]
) -> Iterator[tuple[str, pa.Array, Int[np.ndarray, " R"]]]:
    """(column, its values as texts, their types) of JSON objects; null where one lacks it."""
    if names:
        texts, types, _ = _extracted(objects, f"[{', '.join(map(_path, names))}]")
        for place, name in enumerate(names):
            at = pa.array(np.arange(place, len(texts), len(names)))
            yield name, texts.take(at), types[place :: len(names)]


def _items(lists: pa.Array) -> tuple[pa.Array, Int[np.ndarray, " K"], Int[np.ndarray, " R"]]:
    """The values of JSON lists, one list's after another's, their types, and how many each has."""
    return _extracted(lists, "'$[*]'")


def _extracted(
    lines: pa.Array, paths: str
) -> tuple[pa.Array, Int[np.ndarray, " K"], Int[np.ndarray, " R"]]:
    """What is at some paths of each line: texts, types, and how many."""
    read = "json_extract_string(line, {0}) AS texts, json_type(line, {0}) AS types"
    table = _run(read.format(paths), lines)
    nothing = [pa.array([], pa.string())]
    texts, types = (
        pa.concat_arrays([chunk.flatten() for chunk in table[name].chunks] or nothing)
        for name in ("texts", "types")
    )
    numbers = pc.index_in(types, pa.array(TYPES)).fill_null(WHOLE).to_numpy()
    counts = pc.list_value_length(table["texts"]).to_numpy()
    return texts.cast(pa.large_string()), np.maximum(numbers, MISSING), counts


def _path(name: str) -> str:
    """A name as a JSON path in a text of SQL."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("'", "''")
    return f"""'$."{escaped}"'"""
