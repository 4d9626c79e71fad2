"""A vocabulary of any size: an Arrow file sorted by key, memory-mapped to look values up.

Row 0 of the table is the unknown id. The values of train, most frequent first, have rows 1, 2, …;
of equally frequent ones the smaller key comes first. In a set that extends another, the values of
that one keep their rows, and the new ones have the rows after them, by the same order.

`NAME.arrow` holds the columns `key` (uint64, ascending) and `row` (int32). `NAME.values.arrow`
holds, in the same order, each value as text and how often train showed it: for people; no look-up
reads it.
"""

from __future__ import annotations

import dataclasses
import pathlib
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dtn_jax.data.keys import numbers_of
from dtn_jax.shapes import Int32, UInt64

Database = Any  # an open one of DuckDB
FOLDER = "vocabulary"  # of a set's vocabularies
CHUNK = 1 << 20  # keys that are written at a time
KEYS = pa.schema([("key", pa.uint64()), ("row", pa.int32())])
VALUES = pa.schema([("value", pa.large_string()), ("count", pa.int64())])
FACTS = ("ids", "values", "new_ids", "new_values", "added", "fallen_out")  # of an extended table


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """An open vocabulary.

    Attributes:
      keys: uint64 `[N]`, ascending.
      rows: int32 `[N]`, the row of each, from 1 on.
    """

    keys: UInt64[np.ndarray, " N"]
    rows: Int32[np.ndarray, " N"]

    def look_up(self, wanted: UInt64[np.ndarray, " B"]) -> Int32[np.ndarray, " B"]:
        """The row of each key, 0 where train did not show it (often enough)."""
        if not len(self.keys):
            return np.zeros(len(wanted), np.int32)
        order = np.argsort(wanted)  # neighbours are found near each other
        ascending = wanted[order]
        at = np.minimum(np.searchsorted(self.keys, ascending), len(self.keys) - 1)
        found = np.empty(len(wanted), np.int32)
        found[order] = np.where(self.keys[at] == ascending, self.rows[at], 0)
        return found


def path_of(folder: pathlib.Path, table: str, what: str = "") -> pathlib.Path:
    """Where a table's vocabulary lies; with `.values` as `what` its values."""
    return folder / f"{urllib.parse.quote(table, safe='')}{what}.arrow"


def load(path: pathlib.Path) -> Vocabulary:
    """Opens a vocabulary; nothing is read before it is needed."""
    table = read(path)
    columns = [table[name].combine_chunks() for name in KEYS.names]
    return Vocabulary(*(c.to_numpy(zero_copy_only=False) for c in columns))


def read(path: pathlib.Path) -> pa.Table:
    """A file of a vocabulary, memory-mapped: keys and rows, or each value as text and its count."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def names(folder: pathlib.Path, table: str, ids: Sequence[int]) -> dict[int, str]:
    """{id: the value that has it, as text} of a table with a vocabulary, for as many ids as are
    shown; of pairs of values the texts are empty. None of other tables."""
    if not path_of(folder, table).exists():
        return {}
    rows = load(path_of(folder, table)).rows
    places = np.flatnonzero(np.isin(rows, np.asarray(ids)))
    texts = read(path_of(folder, table, ".values"))["value"].take(pa.array(places)).to_pylist()
    return dict(zip(rows[places].tolist(), texts, strict=True))


def write(
    database: Database,
    counts: str,
    table: str,
    least: int,
    folder: pathlib.Path,
    older: pathlib.Path | None = None,
) -> dict[str, int]:
    """Writes a table's vocabulary from the counts of its values.

    Args:
      database: has the counts.
      counts: in SQL, with columns key, n, value: a value as text, null of a whole number.
      table: the vocabulary's name.
      least: how often train must show a new value.
      folder: of the vocabularies.
      older: the folder of the vocabularies of a set that this one extends.

    Returns:
      `rows` of the table, the unknown one included; of one that extends another also FACTS: the
      ids and values of this train, those of them that are new, how many of the new ids have rows,
      and how many known ids this train does not show.
    """
    known = pa.table({name: pa.array([], type) for name, type in zip("kow", _OLDER, strict=True)})
    if older is not None:
        before = load(path_of(older, table))
        texts = read(path_of(older, table, ".values"))["value"]
        known = pa.table({"k": before.keys, "o": before.rows, "w": texts})
    database.register("known", known)
    database.execute(f"CREATE TEMP TABLE merged AS {_MERGED.format(counts)}", [least])
    database.unregister("known")
    size = _save(folder, table, database.sql(_RANKED).to_arrow_reader(CHUNK))
    facts = database.execute(_COUNTED).fetchall()[0] if older is not None else ()
    database.execute("DROP TABLE merged")
    return {"rows": 1 + size, **dict(zip(FACTS, map(int, facts)))}


_OLDER = (pa.uint64(), pa.int32(), pa.large_string())
# Known values (their row is o) and those of train (shown n times).
_MERGED = """
    SELECT coalesce(k, key) AS key, coalesce(n, 0) AS n, o, coalesce(w, value) AS value,
      coalesce(n, 0) >= least AS frequent
    FROM {} FULL JOIN known ON key = k, (SELECT ? AS least)
"""
_RANKED = """
    SELECT key, n, value, coalesce(o, (SELECT count(o) FROM merged)
      + row_number() OVER (PARTITION BY o IS NULL ORDER BY n DESC, key))::INTEGER AS row
    FROM merged WHERE o IS NOT NULL OR frequent ORDER BY key
"""
_COUNTED = """
    SELECT count(*) FILTER (n > 0), coalesce(sum(n), 0), count(*) FILTER (o IS NULL),
      coalesce(sum(n) FILTER (o IS NULL), 0), count(*) FILTER (o IS NULL AND frequent),
      count(*) FILTER (o IS NOT NULL AND n = 0)
    FROM merged
"""


def _save(folder: pathlib.Path, table: str, ranked: pa.RecordBatchReader) -> int:
    """Writes the ranked values; returns how many there are."""
    size = 0
    with (
        pa.OSFile(str(path_of(folder, table)), "wb") as key_file,
        pa.ipc.new_file(key_file, KEYS) as keys,
        pa.OSFile(str(path_of(folder, table, ".values")), "wb") as value_file,
        pa.ipc.new_file(value_file, VALUES) as shown,
    ):
        for part in _whole(ranked):
            keys.write_table(part.select(["key", "row"]).cast(KEYS))
            hashed, texts = part["key"].to_numpy(), part["value"].combine_chunks()
            numbers = pa.array(numbers_of(hashed)).cast(texts.type)
            texts = pa.compute.coalesce(texts, numbers)
            columns = [texts.cast(pa.large_string()), part["n"].combine_chunks()]
            shown.write_table(pa.table(columns, schema=VALUES))
            size += len(part)
    return size


def _whole(batches: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """The same rows, CHUNK at a time."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(map(len, held)) >= CHUNK:
            table = pa.Table.from_batches(held)
            yield table.slice(0, CHUNK).combine_chunks()
            held = table.slice(CHUNK).to_batches()
    if held:
        yield pa.Table.from_batches(held).combine_chunks()
