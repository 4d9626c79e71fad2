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
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as is_

from dtn_jax.data.raw.files import RawFile, open_file
from dtn_jax.data.raw.types import Chunk, Pieces, Type, Types, Unit
from dtn_jax.data.schemas.spec import InputSpec
from dtn_jax.errors import UserError

BUFFER = 1 << 20  # bytes of a column of Parquet that are asked for at once
DAMAGED = (pa.ArrowException, OSError)
DIGITS = 38  # of a decimal, at most, in polars
TEXTS = (is_.is_string, is_.is_large_string, is_.is_string_view)
BYTES = (is_.is_binary, is_.is_large_binary, is_.is_binary_view, is_.is_fixed_size_binary)
LISTS = (is_.is_list, is_.is_large_list, is_.is_fixed_size_list)
LISTS += (is_.is_list_view, is_.is_large_list_view)
Reader = pq.ParquetFile | pa.ipc.RecordBatchFileReader


def schema(file: RawFile, input: InputSpec) -> Types:
    """The columns and their types."""
    with _opened(file) as (_, types):
        return types_of(types)


def pieces(file: RawFile, input: InputSpec, rows: int, size: int) -> Pieces:
    """(start, stop, first row, rows) of row groups or record batches, joined up to `rows` rows; a
    larger one is alone."""
    found, start, first, held, stop = [], 0, 1, 0, 0
    for stop, count in enumerate(_sizes(file)):
        if held and held + count > rows:
            found.append((start, stop, first, held))
            start, first, held = stop, first + held, 0
        held += count
    return [*found, (start, stop + 1, first, held)] if held else found


def chunks(
    file: RawFile, unit: Unit, columns: Sequence[str], rows: int, *more: object
) -> Iterator[Chunk]:
    """The unit's rows; see `read.chunks`."""
    columns, first = list(columns), unit.first_row
    with _opened(file, columns) as (reader, _):
        try:
            for batch in _batches(reader, range(unit.start, unit.stop), columns, rows):
                yield chunk_of(batch, columns, first)
                first += batch.num_rows
        except DAMAGED as error:
            what, number = _damaged(reader, unit, columns, rows)
            raise UserError(f"{file.address}: {what} {number} cannot be read: {error}") from None


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
                chunk_of(batch, columns, 1)
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
            types_of(types)  # names that are not text raise here
            check_columns(file, types, columns)
            if not parquet:
                fields = sorted(map(types.get_field_index, columns)) or [0]
                options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
                reader = pa.ipc.open_file(source, options=options)
        except (*DAMAGED, UnicodeDecodeError) as error:
            name = file.format.capitalize()
            raise UserError(f"{file.address} is cut, or is no {name} file: {error}") from None
        yield reader, types


# Arrow's types and batches as those of polars.


def _is(type: pa.DataType, tests: Sequence) -> bool:
    return any(test(type) for test in tests)


def target(type: pa.DataType) -> pa.DataType | None:
    """The type that polars holds a column as; None for a nested one that no check can use.

    Dictionaries become their values, lists of a fixed size lists.

    Raises:
      UnicodeDecodeError: the name of a list's values is not UTF-8.
    """
    if isinstance(type, pa.BaseExtensionType):
        return target(type.storage_type)
    if is_.is_dictionary(type) or is_.is_run_end_encoded(type):
        return target(type.value_type)
    if is_.is_decimal(type) and not (is_.is_decimal128(type) and 0 <= type.scale <= type.precision):
        return pa.decimal128(DIGITS, min(max(type.scale, 0), DIGITS))  # longer ones are invalid
    if is_.is_float16(type):
        return pa.float32()
    if _is(type, BYTES):
        return pa.large_binary()
    if _is(type, LISTS):
        str(type.value_field.name)  # polars panics where it is not text; here that is raised
        value = target(type.value_type)
        return None if value is None else pa.large_list(value)
    return None if is_.is_nested(type) or is_.is_interval(type) else type


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
    """A batch as a chunk whose first row has the number `first`.

    Raises:
      pa.ArrowInvalid: it is damaged, or a decimal has more than DIGITS digits.
    """
    frame = pl.DataFrame({name: series(plain(batch.column(name))) for name in columns})
    return Chunk(frame, first + np.arange(batch.num_rows), [])


def series(array: pa.Array) -> pl.Series:
    """A plain column as polars has it; text that is not UTF-8, which polars would take unchecked,
    as bytes.

    Raises:
      pa.ArrowInvalid: the array is damaged.
    """
    array.validate(full=not _is(_inner(array), TEXTS))
    read = target(array.type)
    if _is(_inner(array), TEXTS):
        lists = _is(array.type, LISTS)
        raw = array.cast(pa.large_list(pa.large_binary()) if lists else pa.large_binary())
        raw.validate(full=True)
        try:
            array = raw.cast(read)
        except pa.ArrowInvalid:
            return pl.from_arrow(raw)
    return pl.from_arrow(array if array.type == read else array.cast(read))


def _inner(array: pa.Array) -> pa.DataType:
    """The type of the values, also of those in lists."""
    return array.type.value_type if _is(array.type, LISTS) else array.type


def plain(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Without extension type, dictionary or runs: an array whose values lie one by one."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array.type, pa.BaseExtensionType):
        return plain(array.storage)
    if is_.is_dictionary(array.type):
        array.validate(full=True)  # indices may be out of range in a damaged file
        return plain(array.dictionary_decode())
    if is_.is_run_end_encoded(array.type):
        return plain(pc.run_end_decode(array))
    return array
