"""Arrow's types and batches as the types of polars that logs are checked in."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as is_

from dtn_jax.data.raw.files import RawFile
from dtn_jax.data.raw.types import Chunk, Type, Types
from dtn_jax.errors import UserError

DIGITS = 38  # of a decimal, at most, in polars
TEXTS = (is_.is_string, is_.is_large_string, is_.is_string_view)
BYTES = (is_.is_binary, is_.is_large_binary, is_.is_binary_view, is_.is_fixed_size_binary)
LISTS = (is_.is_list, is_.is_large_list, is_.is_fixed_size_list)
LISTS += (is_.is_list_view, is_.is_large_list_view)


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


def schema(types: pa.Schema) -> Types:
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


def chunk(batch: pa.RecordBatch, columns: Sequence[str], first: int) -> Chunk:
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
