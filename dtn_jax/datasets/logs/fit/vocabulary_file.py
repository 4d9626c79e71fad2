"""A vocabulary of any size: an Arrow file sorted by key, memory-mapped to look values up.

Row 0 of the table is the unknown id. The values of train, most frequent first, have rows 1, 2, …;
of equally frequent ones the smaller key comes first. In a set that extends another, the values of
that one keep their rows, and the new ones have the rows after them, by the same order.

`NAME.arrow` holds one record batch with the columns `key` (uint64, ascending) and `row` (int32).
`NAME.values.arrow` holds, in the order of the keys, each value as text and how often train showed
it: for people; no look-up reads it.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import urllib.parse

import numpy as np
import pyarrow as pa

from dtn_jax.datasets.logs import mapped
from dtn_jax.errors import UserError
from dtn_jax.shapes import Bool, Int32, Int64, UInt64

BUCKETS = 1 << 23  # at most; keys that share their first bits lie in one, few of them if possible
CHUNK = 1 << 20  # keys that are written at a time
SCHEMA = pa.schema([("key", pa.uint64()), ("row", pa.int32())])
VALUES = pa.schema([("value", pa.large_string()), ("count", pa.int64())])


@dataclasses.dataclass(frozen=True)
class VocabularyFile:
    """An open vocabulary.

    Attributes:
      keys: uint64 `[N]`, ascending.
      rows: int32 `[N]`, the row of each, from 1 on.
    """

    keys: UInt64[np.ndarray, " N"]
    rows: Int32[np.ndarray, " N"]

    @functools.cached_property
    def _bits(self) -> int:
        return max(min(2 * len(self.keys), BUCKETS - 1), 1).bit_length()

    @functools.cached_property
    def _starts(self) -> Int32[np.ndarray, " buckets_1"]:
        """Where the keys with each combination of first bits begin."""
        edges = np.arange(1 << self._bits, dtype=np.uint64) << np.uint64(64 - self._bits)
        starts = np.searchsorted(self.keys, edges).astype(np.int32)
        return np.append(starts, np.int32(len(self.keys)))

    def look_up(self, wanted: UInt64[np.ndarray, " B"]) -> Int32[np.ndarray, " B"]:
        """The row of each key, 0 where train did not show it (often enough)."""
        if not len(self.keys):
            return np.zeros(len(wanted), np.int32)
        bucket = (wanted >> np.uint64(64 - self._bits)).astype(np.int64)
        low, high = self._starts[bucket], self._starts[bucket + 1]
        last = len(self.keys) - 1
        at = np.minimum(low, last)
        same = self.keys[at] == wanted
        found = np.where(same, self.rows[at], np.int32(0))
        rest = np.flatnonzero(~same & (high > low + 1))  # few: most buckets hold a key or none
        low, high, wanted = low[rest] + 1, high[rest], wanted[rest]
        for _ in range(int((high - low).max(initial=0)).bit_length()):
            middle = (low + high) >> 1
            right = self.keys[np.minimum(middle, last)] < wanted
            low, high = np.where(right, middle + 1, low), np.where(right, high, middle)
            low = np.minimum(low, high)
        at = np.minimum(low, last)
        found[rest] = np.where(self.keys[at] == wanted, self.rows[at], np.int32(0))
        return found


def path_of(folder: pathlib.Path, table: str, what: str = "") -> pathlib.Path:
    """Where a table's vocabulary lies; with `.values` as `what` its values."""
    return folder / f"{urllib.parse.quote(table, safe='')}{what}.arrow"


def load(path: pathlib.Path) -> VocabularyFile:
    """Opens a vocabulary; nothing is read before it is needed.

    Raises:
      UserError: the file is missing or damaged.
    """
    try:
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
        columns = [table[name].combine_chunks() for name in SCHEMA.names]
        keys, rows = (c.to_numpy(zero_copy_only=False) for c in columns)
    except (OSError, pa.ArrowException, KeyError) as error:
        raise UserError(
            f"{path} is missing or damaged ({error}); delete {path.parents[1]} to prepare the data "
            "set again"
        ) from None
    return VocabularyFile(keys, rows)


def write(
    path: pathlib.Path,
    keys: UInt64[np.ndarray, " N"],
    counts: Int64[np.ndarray, " N"],
    known: Int32[np.ndarray, " N"] | None = None,
):
    """Writes the keys, which are ascending, with their rows; all may lie in mapped files.

    Args:
      path: of the file.
      keys: of the values.
      counts: how often train shows each.
      known: the rows that some have already, which are 1, 2, … without a gap; 0 of the others.
    """
    rows = mapped.new(path.with_suffix(".rows"), np.int32, max(len(keys), 1))
    next_row = _first_rows(counts, known)
    for start in range(0, len(keys), CHUNK):
        new = _new(counts, known, start)
        part = np.asarray(counts[start : start + CHUNK])[new]
        order = np.argsort(part, kind="stable")
        kinds, begin, times = np.unique(part[order], return_index=True, return_counts=True)
        place = np.arange(len(part)) - np.repeat(begin, times)  # among the equally frequent
        firsts = np.array([next_row[int(kind)] for kind in kinds], np.int64)
        part_rows = np.empty(len(part), np.int32)
        part_rows[order] = np.repeat(firsts, times) + place
        given = np.zeros(len(new), np.int32)
        if known is not None:
            given[:] = known[start : start + CHUNK]
        given[new] = part_rows
        rows[start : start + len(new)] = given
        for kind, count in zip(kinds, times, strict=True):
            next_row[int(kind)] += int(count)
    batch = pa.record_batch([pa.array(keys), pa.array(rows[: len(keys)])], SCHEMA)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        writer.write_batch(batch)
    del batch, rows
    path.with_suffix(".rows").unlink()


def _new(
    counts: Int64[np.ndarray, " N"], known: Int32[np.ndarray, " N"] | None, start: int
) -> Bool[np.ndarray, " C"]:
    """Which values of a chunk have no row yet."""
    if known is None:
        return np.ones(len(counts[start : start + CHUNK]), bool)
    return np.asarray(known[start : start + CHUNK]) == 0


def _first_rows(
    counts: Int64[np.ndarray, " N"], known: Int32[np.ndarray, " N"] | None
) -> dict[int, int]:
    """{count: the first row of the new values that train showed so often}."""
    times: dict[int, int] = {}
    row = 1
    for start in range(0, len(counts), CHUNK):
        new = _new(counts, known, start)
        row += int((~new).sum())
        found = np.unique(np.asarray(counts[start : start + CHUNK])[new], return_counts=True)
        for count, values in zip(*found, strict=True):
            times[int(count)] = times.get(int(count), 0) + int(values)
    first = {}
    for count in sorted(times, reverse=True):
        first[count], row = row, row + times[count]
    return first
