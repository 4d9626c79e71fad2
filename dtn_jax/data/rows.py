"""Cleaned rows: what `clean` makes of raw ones, what a stage stores, and what `encode` reads.

Rows are an Arrow record batch with a column for

    value NAME      of each field that is no cross: a value, or a list; of a companion of a history
                    that is made from the log, what stands beside the row if it is an event
    weights NAME    the weights of a bag's values
    event NAME      whether later rows list this one, of each history that is made from the log
    label NAME      of each task, float32; null where it is not known
    row             its number in its file; `time` as `times.to_time` has it; `group`, `user` (whose
                    histories the row is in), `split` (the column that says it), `weight` and
                    `loss_weight`, where the schema file has them

Values that become ids, or are compared, lie in dictionaries (`keyed`): each different value once,
with its key.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from dtn_jax.data import keys
from dtn_jax.shapes import Bool, Float32, Float64, Int, Int32, Int64, UInt64

VALUE, WEIGHTS, EVENT, LABEL = "value ", "weights ", "event ", "label "
BESIDE = "beside "  # of a companion of a history, once `value NAME` has its lists
ROW, TIME, GROUP, USER, SPLIT = "row", "time", "group", "user", "split"
WEIGHT, LOSS_WEIGHT = "weight", "loss_weight"


@dataclasses.dataclass(frozen=True)
class Rows:
    """Cleaned rows."""

    batch: pa.RecordBatch

    def __len__(self) -> int:
        return self.batch.num_rows

    def take(self, mask: Bool[np.ndarray, " B"]) -> Rows:
        """The rows of a mask."""
        return self if mask.all() else Rows(self.batch.filter(pa.array(mask)))

    def has(self, name: str) -> bool:
        return name in self.batch.schema.names

    def column(self, name: str) -> pa.Array:
        return self.batch.column(name)

    def numbers(self, name: str) -> np.ndarray:
        """A column of numbers or truths, `[B]`; NaN where a float is missing."""
        return self.batch.column(name).to_numpy(zero_copy_only=False)

    def labels(self, tasks: Iterable[str]) -> Float32[np.ndarray, "B T"]:
        """The labels of tasks, NaN where one is not known."""
        return np.stack([self.numbers(LABEL + task) for task in tasks], axis=1)

    def weight(self, name: str = WEIGHT) -> Float64[np.ndarray, " B"] | None:
        """The rows' weights; None without."""
        return self.numbers(name) if self.has(name) else None

    def keys(self, name: str) -> UInt64[np.ndarray, " B"]:
        """The keys of a column's values, `keys.MISSING` of a missing one."""
        return Values.of(self.column(name)).row_keys()

    def replaced(self, name: str, column: pa.Array) -> Rows:
        """The same rows with another column of that name, or one more."""
        columns = dict(zip(self.batch.schema.names, self.batch.columns, strict=True))
        columns |= {name: column}
        return Rows(pa.RecordBatch.from_arrays([*columns.values()], names=[*columns]))


def of_frame(frame: pl.DataFrame, coded: Iterable[str] = ()) -> Rows:
    """Rows of a Polars frame; the columns `coded`, and lists in them, are `keyed`."""
    arrays = {column.name: column.to_arrow() for column in frame}
    names = [name for name in dict.fromkeys(coded) if name in arrays]
    values = {name: flat(arrays[name]) if is_list(arrays[name]) else arrays[name] for name in names}
    for name, column in zip(values, keyed(values.values())):
        array = arrays[name]
        arrays[name] = _lists(array, column, lengths(array)) if is_list(array) else column
    return Rows(pa.RecordBatch.from_arrays([*arrays.values()], names=[*arrays]))


def keyed(columns: Iterable[pa.Array]) -> list[pa.DictionaryArray]:
    """Values of columns with a dictionary of structs: the `key` of each different one, and it as a
    `value`.

    The key is MISSING where there is none, as of NaN. Columns of a type get theirs at once: a few
    rows, as a server has them, would take as long for each column.
    """
    coded = [c if pa.types.is_dictionary(c.type) else c.dictionary_encode() for c in columns]
    dictionaries: list[pa.DictionaryArray] = [*coded]
    types: dict[pa.DataType, list[int]] = {}
    for at, column in enumerate(coded):
        types.setdefault(column.dictionary.type, []).append(at)
    for group in types.values():
        different = [coded[at].dictionary for at in group]
        every, there = keys.keys(pl.from_arrow(pa.concat_arrays(different)))
        ends = np.cumsum([len(values) for values in different])[:-1]
        for at, hashed in zip(group, np.split(np.where(there, every, keys.MISSING), ends)):
            dictionaries[at] = _keyed(coded[at].indices, hashed, coded[at].dictionary)
    return dictionaries


def of_keys(hashed: UInt64[np.ndarray, " N"]) -> pa.DictionaryArray:
    """The same of values of which nothing but their keys is known."""
    coded = pa.array(hashed).dictionary_encode()
    different = coded.dictionary.to_numpy()
    return _keyed(coded.indices, different, pa.nulls(len(different), pa.large_string()))


def _keyed(indices: pa.Array, hashed: np.ndarray, different: pa.Array) -> pa.DictionaryArray:
    structs = pa.StructArray.from_arrays([pa.array(hashed), different], ["key", "value"])
    return pa.DictionaryArray.from_arrays(indices, structs)


def is_list(array: pa.Array) -> bool:
    return pa.types.is_large_list(array.type)


def _lists(array: pa.Array, values: pa.Array, counts: Int64[np.ndarray, " B"]) -> pa.Array:
    """Lists of so many of the values each, missing where those of `array` are."""
    missing = array.is_null() if array.null_count else None
    offsets = pa.array(np.append(0, np.cumsum(counts)))
    return pa.LargeListArray.from_arrays(offsets, values, mask=missing)


def lengths(array: pa.Array) -> Int64[np.ndarray, " B"]:
    """How many values each list holds; a missing list holds none."""
    counts = pc.list_value_length(array)
    return (counts.fill_null(0) if counts.null_count else counts).to_numpy(zero_copy_only=False)


def places(starts: Int[np.ndarray, " n"], lengths: Int[np.ndarray, " n"]) -> Int[np.ndarray, " N"]:
    """starts[0], starts[0] + 1, ..., `lengths[0]` of them, then those of the next row."""
    before = lengths.cumsum() - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum())


def kept(array: pa.Array, most: int, last: bool) -> pa.Array:
    """The lists without what is beyond `most` values: the first or the last ones stay, in order."""
    counts = lengths(array)
    if not len(counts) or counts.max() <= most:
        return array
    starts = array.offsets.to_numpy()[:-1] + (np.maximum(counts - most, 0) if last else 0)
    counts = np.minimum(counts, most)
    return _lists(array, array.values.take(pa.array(places(starts, counts))), counts)


def flat(array: pa.Array) -> pa.Array:
    """The values of the lists, one list's after another's; `flatten` makes no dictionary anew."""
    counts, offsets = lengths(array), array.offsets.to_numpy()
    total = int(counts.sum())
    if total == offsets[-1] - offsets[0]:
        return array.values.slice(offsets[0], total)
    return array.values.take(pa.array(places(offsets[:-1], counts)))  # some are hidden


@dataclasses.dataclass(frozen=True)
class Values:
    """N values that become ids, and their keys.

    Attributes:
      keys: `[U]`, of each different value; MISSING where it has none.
      different: `[U]`, the values, nulls where nothing but their keys is known.
      at: `[N]`, the place of each value among them; -1 of a missing one.
      lengths: `[B]`, where the values are those of lists: how many each row has.
    """

    keys: UInt64[np.ndarray, " U"]
    different: pa.Array
    at: Int32[np.ndarray, " N"]
    lengths: Int64[np.ndarray, " B"] | None = None

    @classmethod
    def of(cls, array: pa.Array) -> Values:
        """The values of a column, or of its lists, one row's after another's."""
        counts = lengths(array) if is_list(array) else None
        values = flat(array) if is_list(array) else array
        at = values.indices
        at = at.fill_null(-1) if at.null_count else at
        hashed, different = values.dictionary.flatten()
        return cls(hashed.to_numpy(), different, at.to_numpy(zero_copy_only=False), counts)

    def known(self, unknown: Iterable[str] = ()) -> UInt64[np.ndarray, " U"]:
        """The key of each different value; MISSING of those that are listed as unknown, as text."""
        if not unknown:
            return self.keys
        theirs, _ = keys.keys(pl.Series(list(unknown), dtype=pl.String))
        return np.where(np.isin(self.keys, theirs), keys.MISSING, self.keys)

    def row_keys(self, unknown: Iterable[str] = ()) -> UInt64[np.ndarray, " N"]:
        """The key of each value, `keys.MISSING` of a missing or unknown one."""
        return self.spread(self.known(unknown), keys.MISSING)

    def spread(self, facts: np.ndarray, missing: object) -> np.ndarray:
        """What each value has, `[N, …]`, of what each different one has, `[U, …]`."""
        if not len(facts):
            return np.full((len(self.at), *facts.shape[1:]), missing, facts.dtype)
        each = facts[self.at]
        absent = self.at < 0
        if absent.any():
            each[absent] = missing
        return each

    def counts(self, mask: Bool[np.ndarray, " N"] | None = None) -> Int64[np.ndarray, " U"]:
        """How often each different value occurs, in the rows of a mask alone if one is given."""
        at = self.at if mask is None else self.at[mask]
        return np.bincount(at[at >= 0], minlength=len(self.different))
