"""Parquet and Arrow IPC files (Feather too), by row group or record batch, as polars has them.

Of Parquet, memory holds a chunk and a page a column; where a page has a checksum, it is compared.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as is_

from dtn_jax.data.raw.files import RawFile, open_file
from dtn_jax.data.raw.types import Chunk, Pieces, Type, Types, Unit
from dtn_jax.data.schemas.spec import InputSpec
from dtn_jax.errors import UserError

BUFFER = 1 << 20  # bytes of a column of Parquet that are asked for at once
DAMAGED = (pa.ArrowException, OSError)
TEXTS = ("string", "large_string", "string_view")  # types of Arrow
Reader = pq.ParquetFile | pa.ipc.RecordBatchFileReader


def schema(file: RawFile, input: InputSpec) -> Types:
    """The columns and their types."""
    with _opened(file) as (_, types):
        return types_of(types)


def pieces(file: RawFile, input: InputSpec, rows: int, size: int) -> Pieces:
    """(start, stop, first row, rows) of row groups or record batches, joined up to `rows` rows; a
    larger one is alone."""
    units, start, first, held, stop = [], 0, 1, 0, 0
    for stop, count in enumerate(_sizes(file)):
        if held and held + count > rows:
            units.append((start, stop, first, held))
            start, first, held = stop, first + held, 0
        held += count
    return [*units, (start, stop + 1, first, held)] if held else units


def chunks(
    file: RawFile, unit: Unit, columns: Sequence[str], rows: int, *more: object
) -> Iterator[Chunk]:
    """The unit's rows; see `read.chunks`."""
    columns, first = list(columns), unit.first_row
    with _opened(file, columns) as (reader, _):
        for batch in _batches(reader, range(unit.start, unit.stop), columns, rows):
            yield chunk_of(batch, columns, first)
            first += batch.num_rows


def _sizes(file: RawFile) -> Iterator[int]:
    """The rows of each row group or record batch."""
    with _opened(file) as (reader, _):
        if isinstance(reader, pq.ParquetFile):
            yield from (reader.metadata.row_group(n).num_rows for n in range(reader.num_row_groups))
        else:
            yield from (reader.get_batch(n).num_rows for n in range(reader.num_record_batches))


def _batches(
    reader: Reader, numbers: range, columns: list[str], rows: int
) -> Iterator[pa.RecordBatch]:
    if isinstance(reader, pq.ParquetFile):
        yield from reader.iter_batches(rows, list(numbers), columns, use_threads=False)
        return
    for batch in map(reader.get_batch, numbers):
        yield from (batch.slice(start, rows) for start in range(0, batch.num_rows, rows))


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
            check_columns(file, types, columns)
            if not parquet:
                fields = sorted(map(types.get_field_index, columns)) or [0]
                options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
                reader = pa.ipc.open_file(source, options=options)
            yield reader, types
        except (*DAMAGED, UnicodeDecodeError) as error:
            name = file.format.capitalize()
            raise UserError(f"{file.address} is damaged, or is no {name} file: {error}") from None


# Arrow's types and batches as those of polars.


def target(type: pa.DataType) -> pa.DataType | None:
    """The type that polars holds a column as; None for one that no check can use, such as a
    nested one.

    Dictionaries become their values, lists of a fixed size lists.
    """
    if isinstance(type, pa.BaseExtensionType):
        return target(type.storage_type)
    if is_.is_dictionary(type):
        return target(type.value_type)
    if is_.is_float16(type):
        return pa.float32()
    if is_.is_list(type) or is_.is_large_list(type) or is_.is_fixed_size_list(type):
        value = target(type.value_type)
        return None if value is None else pa.large_list(value)
    long = is_.is_decimal(type) and (type.bit_width > 128 or type.scale < 0)
    return None if long or is_.is_nested(type) or is_.is_interval(type) else type


def types_of(types: pa.Schema) -> Types:
    """The columns' types; those that cannot be read are a Struct."""
    return {field.name: _of_polars(target(field.type)) for field in types}


@functools.cache
def _of_polars(type: pa.DataType | None) -> Type:
    return pl.Struct([]) if type is None else pl.from_arrow(pa.nulls(0, type)).dtype


def check_columns(file: RawFile, types: pa.Schema, columns: Sequence[str]) -> None:
    """Raises UserError where a wanted column is nested, or there twice."""
    for name in columns:
        if len(types.get_all_field_indices(name)) > 1:
            raise UserError(f"{file.address} has column {name!r} more than once")
        if target(types.field(name).type) is None:
            raise UserError(
                f"{file.address}: column {name!r} is of type {types.field(name).type}; expected "
                "numbers, text, times or lists of them: make a column of each of its parts"
            )


def chunk_of(batch: pa.RecordBatch, columns: Sequence[str], first: int) -> Chunk:
    """A batch as a chunk whose first row has this number; pa.ArrowInvalid where it is damaged."""
    frame = pl.DataFrame({name: series(plain(batch.column(name))) for name in columns})
    return Chunk(frame, first + np.arange(batch.num_rows), [])


def series(array: pa.Array) -> pl.Series:
    """A plain column as polars has it; text that is not UTF-8, which polars would take unchecked,
    as bytes.

    Raises:
      pa.ArrowInvalid: the array is damaged.
    """
    read, listed = target(array.type), is_.is_nested(array.type)
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        if str(array.type.value_type if listed else array.type) not in TEXTS:
            raise
        read = pa.large_list(pa.large_binary()) if listed else pa.large_binary()
        array = array.cast(read)
        array.validate(full=True)
    return pl.from_arrow(array if array.type == read else array.cast(read))


def plain(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Without extension type or dictionary: an array whose values lie one by one."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array.type, pa.BaseExtensionType):
        return plain(array.storage)
    if is_.is_dictionary(array.type):
        array.validate(full=True)  # indices may be out of range in a damaged file
        return plain(array.dictionary_decode())
    return array
