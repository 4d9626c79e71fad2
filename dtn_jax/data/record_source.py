"""Blocks of rows as records: an Arrow record batch each, in ArrayRecord files, read at random.

A column is an array of the block: numbers, or lists of a fixed length where a row has several.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
from array_record.python.array_record_data_source import ArrayRecordDataSource

from dtn_jax.data.checked_files import remedy
from dtn_jax.errors import UserError

Block = Mapping[str, np.ndarray]
WRITER = "group_size:1,zstd:1"  # of ArrayRecord: each record by itself, as random access needs it
SHOWN = 200  # characters of array_record's messages
UNREADABLE = (OSError, RuntimeError, ValueError, KeyError, IndexError)  # of array_record and Arrow


def to_record(block: Block) -> bytes:
    """A block's arrays `[B, ...]` as a record."""
    columns = [
        pa.array(v) if v.ndim == 1 else pa.FixedSizeListArray.from_arrays(v.ravel(), v.shape[1])
        for v in block.values()
    ]
    batch = pa.RecordBatch.from_arrays(columns, names=[*block])
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, batch.schema) as writer:
        writer.write_batch(batch)
    return out.getvalue().to_pybytes()


def to_block(record: bytes) -> dict[str, np.ndarray]:
    """The arrays `[B, ...]` of a record; they cannot be written to."""
    batch = pa.ipc.open_stream(record).read_next_batch()
    return {name: _array(column) for name, column in zip(batch.schema.names, batch.columns)}


def _array(column: pa.Array) -> np.ndarray:
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy().reshape(-1, column.type.list_size)
    return column.to_numpy()


def path_of(folder: pathlib.Path, split: str, place: int, places: int) -> pathlib.Path:
    """The file of a split's records that is at this place among so many."""
    return folder / f"logs-{split}.array_record-{place:05d}-of-{places:05d}"


class RecordSource(Sequence):
    """A split's records: `source[i]` is a dict of arrays, one block.

    array_record has a hash of each record, and raises where it does not fit.

    Raises:
      UserError: a record cannot be read.
    """

    def __init__(self, folder: pathlib.Path, split: str):
        self.folder, self.split = folder, split
        self.paths = sorted(folder.glob(f"logs-{split}.array_record-*"))
        with self._told(()):
            self.records = ArrayRecordDataSource([os.fspath(path) for path in self.paths])

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, np.ndarray]]:
        with self._told(indices):
            return [to_block(record) for record in self.records.__getitems__(indices)]

    @contextlib.contextmanager
    def _told(self, indices: Sequence[int]) -> Iterator[None]:
        try:
            yield
        except UNREADABLE as error:
            where = self._damaged(indices) or f"the records of {self.split} in {self.folder}"
            why = " ".join(str(error).split())[:SHOWN]
            raise UserError(f"{where} cannot be read ({why}); {remedy(self.folder)}") from error

    def _damaged(self, indices: Sequence[int]) -> str:
        """The file of the first of these records that cannot be read."""
        for index in indices:
            try:
                to_block(self.records[index])
            except UNREADABLE:
                counts = (len(ArrayRecordDataSource([os.fspath(p)])) for p in self.paths)
                file = self.paths[bisect.bisect(list(itertools.accumulate(counts)), index)]
                return f"record {index} of {self.split}, in {file},"
        return ""
