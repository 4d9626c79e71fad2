"""JSON lines: an object a line, which DuckDB parses. Values are texts until their type is known."""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from dtn_jax.datasets.logs.raw import json_kinds
from dtn_jax.datasets.logs.raw import lines as text
from dtn_jax.datasets.logs.raw.files import RawFile
from dtn_jax.datasets.logs.raw.json_kinds import (
    LIST,
    NESTED,
    NOT_LIST,
    NOT_SCALAR,
    NULL,
    OBJECT,
    TEXT,
    Kinds,
)
from dtn_jax.datasets.logs.raw.rejects import Reject
from dtn_jax.datasets.logs.raw.unit import Chunk, Types, Unit
from dtn_jax.errors import UserError
from dtn_jax.shapes import Bool

HEAD = 4 << 20  # bytes, and
HEAD_LINES = 2_000  # lines from which columns and types are inferred
PIECES = 20  # of the rest, and
PIECE = 1 << 15  # bytes of each, in which columns are looked for that the first lines lack

BROKEN = "a line that is not JSON"
NO_OBJECT = "a line that is not an object"


def schema(file: RawFile) -> Types:
    """The columns of the file's first lines, and of others; a nested one is a Struct."""
    return {name: json_kinds.of_kinds(kinds) for name, kinds in _head(file).items()}


def pieces(file: RawFile, size: int) -> list[tuple[int, int, int, int]]:
    """(start, stop, first line, lines) of the pieces."""
    return text.ranges(file, text.after_mark(file), 1, size)


def chunks(
    file: RawFile,
    unit: Unit,
    columns: Sequence[str],
    rows: int,
    lists: Collection[str] | None = None,
) -> Iterator[Chunk]:
    """The unit's rows; see `read.chunks`.

    Args:
      lists: the columns that hold lists; all columns are texts then, or lists of texts, and a
        chunk has their `kinds`. None: the file's first lines say which do, and what types columns
        have; a chunk's own values widen them.
    """
    known = {name: kinds for name, kinds in _head(file).items() if name in columns}
    for name, kinds in known.items():
        if json_kinds.is_nested(kinds):
            raise UserError(
                f"{file.address}: column {name!r} has objects or lists of lists; expected numbers, "
                "text or lists of them: make a column of each of its parts"
            )
    for lines in text.blocks(file, unit, rows):
        chunk = _parse(lines, columns, known, lists)
        if chunk is None:
            continue
        if lists is None:
            types = {
                name: json_kinds.of_kinds(kinds | known.get(name, set()))
                for name, kinds in chunk.kinds.items()
            }
            frame, misfits = (
                found if found is None else _typed(found, types)
                for found in (chunk.frame, chunk.misfits)
            )
            chunk = dataclasses.replace(chunk, frame=frame, misfits=misfits)
        yield chunk


def _typed(frame: pl.DataFrame, types: Types) -> pl.DataFrame:
    return frame.select(json_kinds.as_type(column, types[column.name]) for column in frame)


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
    first = _kinds(file.address, head, True)
    return first | _kinds(file.address, others) | first


@functools.lru_cache(maxsize=8)  # a file is begun for every unit
def _kinds(address: str, data: bytes, first: bool = False) -> dict[str, Kinds]:
    texts = [line.decode(errors="replace") for line in data.split(b"\n")]
    lines = pa.array(texts, pa.large_string())
    _, objects = _objects(lines)
    if first and not objects.any() and data.strip():
        hint = "; it is an array: write a line for each of its items" * data.lstrip().startswith(
            b"["
        )
        raise UserError(f"{address}: none of the first {len(lines)} lines is a JSON object{hint}")
    there = lines.filter(pa.array(objects))
    query = """SELECT name FROM (
          SELECT unnest(keys) AS name, unnest(range(len(keys))) AS place, n
          FROM (SELECT json_keys(line) AS keys, n FROM lines)
        ) GROUP BY name ORDER BY min((n, place))"""
    found = {}
    names = [row[0] for row in _run(query, there).fetchall()]
    for name, column, types in _values(there, names):
        listed = _lists_prevail(types)
        is_list = pc.equal(types, LIST).fill_null(False)
        kept = is_list if listed else pc.invert(is_list)
        column, types = column.filter(kept), types.filter(kept)
        found[name] = _list_kinds(column) if listed else json_kinds.kinds_of(column, types)
    return found


def _lists_prevail(types: pa.Array) -> bool:
    """Whether a column has more lists than single values, or as many, and some."""
    counts = {found["values"]: found["counts"] for found in pc.value_counts(types).to_pylist()}
    lists = counts.get(LIST, 0)
    missing = counts.get(NULL, 0) + counts.get(None, 0)
    return bool(lists) and 2 * lists >= len(types) - missing


def _list_kinds(lists: pa.Array) -> Kinds:
    """The kinds of the values of lists, which are JSON texts."""
    values, types, _ = _items(lists)
    return json_kinds.in_lists(json_kinds.kinds_of(values, types))


def _parse(
    lines: text.Lines, columns: Sequence[str], head: dict[str, Kinds], lists: Collection[str] | None
) -> Chunk | None:
    """The rows of some lines, their values as texts; None where there is nothing."""
    bad = dict.fromkeys(lines.holding(0).tolist(), text.NUL)
    bad |= dict.fromkeys(text.not_utf8(lines), text.NOT_UTF8)
    read = np.ones(len(lines.starts), bool)
    read[list(bad)] = False
    every = _binary(lines).filter(pa.array(read)).cast(pa.large_string())
    places, (valid, objects) = np.flatnonzero(read), _objects(every)
    for n in places[~objects].tolist():
        if lines.line(n).strip():
            bad[n] = NO_OBJECT
    bad |= {n: BROKEN for n in places[~valid].tolist() if n in bad}
    numbers = lines.first + places[objects]
    if not len(numbers) and not bad:
        return None
    rejects = {n: Reject(lines.first + n, why, value=_line(lines, n)) for n, why in bad.items()}
    found, kinds, misfit = [], {}, np.zeros(len(numbers), bool)
    for name, values, types in _values(every.filter(pa.array(objects)), columns):
        if lists is not None:
            listed = name in lists
        else:
            listed = json_kinds.is_listed(head[name]) if head.get(name) else _lists_prevail(types)
        reasons = _misfits(types, listed)
        column, kinds[name] = values, json_kinds.kinds_of(values, types) - {"nested"}
        if listed or NOT_SCALAR in reasons.values():
            lists_of, kinds_of, nested = _lists(values, types)
            reasons |= dict.fromkeys(nested, NESTED)
            if listed:
                column, kinds[name] = lists_of, kinds_of
        column = pl.Series(name, column)
        if reasons:
            rows = np.array(sorted(reasons))
            for row in rows[~misfit[rows]].tolist():
                line, shown = int(numbers[row]), values[row].as_py()
                if reasons[row] == NOT_LIST and types[row].as_py() == TEXT:
                    shown = f'"{shown}"'
                rejects[line - lines.first] = Reject(line, reasons[row], name, shown)
            misfit[rows] = True
            fits = np.ones(len(column), bool)
            fits[rows] = False
            column = pl.select(pl.when(pl.Series(fits)).then(column).alias(name)).to_series()
        found.append(column)
    frame, good = pl.DataFrame(found), pl.Series(~misfit)
    others = frame.filter(~good) if misfit.any() else None
    told = [rejects[n] for n in sorted(rejects)]
    places = tuple(numbers[misfit].tolist())
    return Chunk(frame.filter(good), numbers[~misfit], told, others, places, kinds)


def _line(lines: text.Lines, n: int) -> str:
    return text.shown(lines.line(n))


def _binary(lines: text.Lines) -> pa.Array:
    """The lines' bytes, each with its line end."""
    offsets = np.append(lines.starts, len(lines.data)).astype(np.int64)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(lines.data))]
    return pa.Array.from_buffers(pa.large_binary(), len(lines.starts), buffers)


def _misfits(types: pa.Array, listed: bool) -> dict[int, str]:
    """{row: why its column cannot hold its value}."""
    if listed:
        bad = {NESTED: pc.equal(types, OBJECT)}
        single = pc.is_in(types, pa.array([LIST, OBJECT, NULL], types.type))
        bad[NOT_LIST] = pc.and_kleene(pc.is_valid(types), pc.invert(single))
    else:
        bad = {NESTED: pc.equal(types, OBJECT), NOT_SCALAR: pc.equal(types, LIST)}
    return {
        row: reason
        for reason, rows in bad.items()
        for row in np.flatnonzero(rows.fill_null(False).to_numpy(zero_copy_only=False)).tolist()
    }


def _lists(values: pa.Array, types: pa.Array) -> tuple[pa.Array, Kinds, list[int]]:
    """Lists of texts, their kinds, and the rows whose lists hold objects or lists."""
    is_list = pc.equal(types, LIST).fill_null(False)
    items, kinds, counts = _items(values.filter(is_list))
    nested = pc.is_in(kinds, pa.array([LIST, OBJECT], kinds.type)).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(is_list.to_numpy(zero_copy_only=False))
    every = np.zeros(len(values), np.int64)
    every[rows] = counts
    offsets = pa.array(np.append(0, np.cumsum(every)))
    lists = pa.LargeListArray.from_arrays(offsets, items, mask=pc.invert(is_list))
    found = json_kinds.kinds_of(items, kinds) - {"nested"}
    owners = np.repeat(rows, counts)[nested]
    return lists, json_kinds.in_lists(found) if len(rows) else set(), np.unique(owners).tolist()


# What DuckDB does.

_local = threading.local()


def _run(query: str, lines: pa.Array) -> Any:
    """The result of a query over the table `lines`, of `line` and its number `n`."""
    if not hasattr(_local, "database"):
        settings = {"threads": 1, "autoload_known_extensions": False}
        _local.database = duckdb.connect(config=settings)
    table = pa.table({"line": lines, "n": np.arange(len(lines))})
    _local.database.register("lines", table)
    return _local.database.sql(query)


def _objects(lines: pa.Array) -> tuple[Bool[np.ndarray, " L"], Bool[np.ndarray, " L"]]:
    """Which lines are JSON, and which of them are objects."""
    query = """SELECT v, v AND json_type(CASE WHEN v THEN line ELSE 'null' END) = 'OBJECT' AS o
        FROM (SELECT line, n, json_valid(line) AS v FROM lines) ORDER BY n"""
    found = _run(query, lines).fetchnumpy()
    return np.asarray(found["v"], bool), np.asarray(found["o"], bool)


def _values(objects: pa.Array, names: Sequence[str]) -> Iterator[tuple[str, pa.Array, pa.Array]]:
    """(column, its values as texts, DuckDB's types of them) of JSON objects; null where one lacks
    it."""
    if not names:
        return
    paths = ", ".join(_quoted(name) for name in names)
    query = f"""SELECT json_extract_string(line, [{paths}]) AS found,
        json_type(line, [{paths}]) AS kinds FROM lines ORDER BY n"""
    table = _run(query, objects).to_arrow_table().combine_chunks()
    texts, kinds = (_flat(table[name]) for name in ("found", "kinds"))
    for place, name in enumerate(names):
        at = pa.array(np.arange(place, len(texts), len(names)))
        yield name, texts.take(at).cast(pa.large_string()), kinds.take(at)


def _items(lists: pa.Array) -> tuple[pa.Array, pa.Array, np.ndarray]:
    """The values of JSON lists, one list's after another's, DuckDB's types of them, and how many
    each list has."""
    query = """SELECT json_extract_string(line, '$[*]') AS found, json_type(line, '$[*]') AS kinds
        FROM lines ORDER BY n"""
    table = _run(query, lists).to_arrow_table().combine_chunks()
    texts, kinds = (_flat(table[name]) for name in ("found", "kinds"))
    counts = pc.list_value_length(table["found"]).to_numpy()
    return texts.cast(pa.large_string()), kinds, counts.astype(np.int64)


def _flat(lists: pa.ChunkedArray) -> pa.Array:
    """The values of all lists."""
    nothing = pa.array([], pa.string())
    return pa.concat_arrays([chunk.flatten() for chunk in lists.chunks] or [nothing])


def _quoted(name: str) -> str:
    """A name as a JSON path in a text of SQL."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("'", "''")
    return f"""'$."{escaped}"'"""
