"""Blocks of rows: how they lie in a prepared data set, and as records on disk.

A record is a block of rows, not a row: one-row records decode a hundred times slower.
The prepared set fixes a number of lanes; record r belongs to lane r mod `lanes`. All blocks
are full but the last one of each lane, and those share what is left evenly, so that lanes never
differ by more than one row, and reading the records in order gives the rows in order.

A record is an Arrow record batch in an ArrayRecord file. A column is an array of the block:
numbers, or lists of a fixed length where a row has several.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from dtn_jax.errors import UserError

MOST_LANES, LANE_ROWS, BLOCK_ROWS = 512, 2048, 1024  # of a new set; rows of a lane at least
WINDOW_BYTES = 256 << 20  # of the rows of a new set that are shuffled together
Block = Mapping[str, np.ndarray]
WRITER = "group_size:1,zstd:1"  # of ArrayRecord: each record by itself, as random access needs it
SHOWN = 200  # characters of array_record's messages
UNREADABLE = (OSError, RuntimeError, ValueError, KeyError, IndexError)  # of array_record and Arrow


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a split's rows lie in records.

    Attributes:
      lanes: parallel streams of blocks; a batch takes the same number of rows from each.
      block_rows: rows of a full block.
      window: full blocks of a lane whose rows are shuffled together.
    """

    lanes: int
    block_rows: int
    window: int = 16

    @property
    def window_rows(self) -> int:
        """Rows that each lane has in every window but the last."""
        return self.window * self.block_rows

    def blocks(self, rows: int) -> list[int]:
        """The number of rows of each record, in order."""
        full, rest = divmod(rows, self.lanes * self.block_rows)
        tail = [rest // self.lanes + (lane < rest % self.lanes) for lane in range(self.lanes)]
        return [self.block_rows] * (full * self.lanes) + [n for n in tail if n]

    def starts(self, rows: int) -> np.ndarray:
        """The row at which each record starts, in order, and at the end the number of rows."""
        return np.cumsum([0, *self.blocks(rows)])


def default_layout(rows: int, row_bytes: int = 200) -> Layout:
    """The layout of a new set with so many train rows: up to 512 lanes, two blocks a window.

    With 512 lanes, hundreds of processes read lanes of their own. A smaller set has fewer, a power
    of two, so that each has 2,048 rows or more: two blocks, which are shuffled together. 512 lanes
    shuffle a million rows at a time, 0.2 GB where a row has 200 bytes; one process holds some three
    times that to stream them. Rows of more than 256 bytes have shorter blocks, and at last fewer
    lanes, so that what is shuffled together stays below WINDOW_BYTES.
    """
    lanes, block_rows, window = MOST_LANES, BLOCK_ROWS, LANE_ROWS // BLOCK_ROWS
    while lanes > 1 and rows < lanes * LANE_ROWS:
        lanes //= 2
    while block_rows > 128 and lanes * block_rows * window * row_bytes > WINDOW_BYTES:
        block_rows //= 2
    while lanes > 64 and lanes * block_rows * window * row_bytes > WINDOW_BYTES:
        lanes //= 2
    return Layout(lanes, block_rows, window)


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


def path_of(folder: pathlib.Path, split: str, shard: int) -> pathlib.Path:
    """The file of a shard's records of a split."""
    return folder / f"logs-{split}.array_record-{shard:05d}"


def remedy(folder: pathlib.Path) -> str:
    """What to do about a damaged set."""
    return f"delete {folder} to prepare the data set again"


class RecordSource(Sequence):
    """A split's records: `source[i]` is a dict of arrays, one block.

    array_record has a hash of each record, and raises where it does not fit.

    Raises:
      UserError: a record cannot be read.
    """

    def __init__(self, folder: pathlib.Path, split: str):
        self.folder, self.split = folder, split
        self.paths = sorted(folder.glob(f"logs-{split}.array_record-*"))
        with self._told():
            self.records = _opened(self.paths)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, np.ndarray]]:
        with self._told():
            return [to_block(record) for record in self.records.__getitems__(indices)]

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except UNREADABLE as error:
            why = " ".join(str(error).split())[:SHOWN]
            where = f"{self.folder}/logs-{self.split}.array_record-*"
            raise UserError(f"{where} cannot be read ({why}); {remedy(self.folder)}") from error


def _opened(paths: Sequence[pathlib.Path]) -> Sequence[bytes]:
    from array_record.python.array_record_data_source import ArrayRecordDataSource  # slow to import

    return ArrayRecordDataSource([os.fspath(path) for path in paths])
