"""Parquet and Arrow IPC files (Feather too), by row group or record batch.

Of Parquet, memory holds a chunk and a page a column; where a page has a checksum, it is compared.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from dtn_jax.data.raw import arrow_types
from dtn_jax.data.raw.files import RawFile, open_file
from dtn_jax.data.raw.types import Chunk, Types, Unit
from dtn_jax.errors import UserError

BUFFER = 1 << 20  # bytes of a column of Parquet that are asked for at once
DAMAGED = (pa.ArrowException, OSError)
Reader = pq.ParquetFile | pa.ipc.RecordBatchFileReader


def schema(file: RawFile) -> Types:
    """The columns and their types."""
    with _opened(file) as (_, types):
        return arrow_types.schema(types)


def pieces(file: RawFile, rows: int) -> list[tuple[int, int, int, int]]:
    """(start, stop, first row, rows) of row groups or record batches, joined up to `rows` rows; a
    larger one is alone."""
    found, start, first, held, stop = [], 0, 1, 0, 0
    for stop, size in enumerate(_sizes(file)):
        if held and held + size > rows:
            found.append((start, stop, first, held))
            start, first, held = stop, first + held, 0
        held += size
    return [*found, (start, stop + 1, first, held)] if held else found


def chunks(file: RawFile, unit: Unit, columns: Sequence[str], rows: int) -> Iterator[Chunk]:
    """The unit's rows; see `read.chunks`."""
    columns, first = list(columns), unit.first_row
    with _opened(file, columns) as (reader, _):
        try:
            for batch in _batches(reader, range(unit.start, unit.stop), columns, rows):
                yield arrow_types.chunk(batch, columns, first)
                first += batch.num_rows
        except DAMAGED as error:
            what, number = _damaged(reader, unit, columns, rows)
            raise UserError(f"{file.address}: {what} {number} cannot be read: {error}") from None
    unit.check(file.address, first - unit.first_row)


def _sizes(file: RawFile) -> Iterator[int]:
    """The rows of each row group or record batch."""
    with _opened(file) as (reader, _):
        if isinstance(reader, pq.ParquetFile):
            yield from (reader.metadata.row_group(n).num_rows for n in range(reader.num_row_groups))
            return
        for n in range(reader.num_record_batches):
            try:
                yield reader.get_batch(n).num_rows
            except DAMAGED as error:
                told = f"{file.address}: record batch {n} cannot be read: {error}"
                raise UserError(told) from None


def _batches(
    reader: Reader, numbers: range, columns: list[str], rows: int
) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pq.ParquetFile):
        yield from reader.iter_batches(rows, list(numbers), columns, use_threads=False)
        return
    for batch in map(reader.get_batch, numbers):
        yield from (batch.slice(start, rows) for start in range(0, batch.num_rows, rows))


def _damaged(reader: Reader, unit: Unit, columns: list[str], rows: int) -> tuple[str, int]:
    """What cannot be read of a unit: the first row group or record batch."""
    what = "row group" if isinstance(reader, pq.ParquetFile) else "record batch"
    for number in range(unit.start, unit.stop - 1):
        try:
            for batch in _batches(reader, range(number, number + 1), columns, rows):
                arrow_types.chunk(batch, columns, 1)
        except DAMAGED:
            return what, number
    return what, unit.stop - 1


@contextlib.contextmanager
def _opened(file: RawFile, columns: Sequence[str] = ()) -> Iterator[tuple[Reader, pa.Schema]]:
    """A reader of some of the columns, and the types of all; of an Arrow file, whose batches hold
    their sizes, one of the first column where none is named."""
    parquet = file.format == "parquet"
    with open_file(file.address, mapped=not parquet) as source:
        try:
            if parquet:
                reader = pq.ParquetFile(
                    source,
                    pre_buffer=False,  # which would hold whole row groups
                    buffer_size=BUFFER,
                    coerce_int96_timestamp_unit="us",  # in ns, years before 1677 wrap around
                    page_checksum_verification=True,
                )
            else:
                reader = pa.ipc.open_file(source)
            types = reader.schema_arrow if parquet else reader.schema
            arrow_types.schema(types)  # names that are not text raise here
            arrow_types.check_columns(file, types, columns)
            if not parquet:
                fields = sorted(map(types.get_field_index, columns)) or [0]
                options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
                reader = pa.ipc.open_file(source, options=options)
        except (*DAMAGED, UnicodeDecodeError) as error:
            name = file.format.capitalize()
            raise UserError(f"{file.address} is cut, or is no {name} file: {error}") from None
        yield reader, types
