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
from dtn_jax.data.raw.lines import NOT_UTF8
from dtn_jax.data.raw.types import Chunk, Reject, Type, Types
from dtn_jax.errors import UserError

DIGITS = 38  # of a decimal, at most, in polars
TEXTS = (is_.is_string, is_.is_large_string, is_.is_string_view)
BYTES = (is_.is_binary, is_.is_large_binary, is_.is_binary_view, is_.is_fixed_size_binary)
LISTS = (is_.is_list, is_.is_large_list, is_.is_fixed_size_list)
LISTS += (is_.is_list_view, is_.is_large_list_view)


def _is(type: pa.DataType, tests: Sequence) -> bool:
    return any(test(type) for test in tests)


def target(type: pa.DataType, as_is: bool = False) -> pa.DataType | None:
    """The type that a column is read as; None for a nested one that no check can use.

    Dictionaries become their values, decimals floats (without a fraction whole numbers, or texts
    of them), binary columns text, lists of a fixed size lists. With `as_is`, decimals stay
    decimals, and bytes bytes.

    Raises:
      UnicodeDecodeError: the name of a list's values is not UTF-8.
    """
    if isinstance(type, pa.BaseExtensionType):
        return target(type.storage_type, as_is)
    if is_.is_dictionary(type) or is_.is_run_end_encoded(type):
        return target(type.value_type, as_is)
    if is_.is_decimal(type):
        whole = pa.int64() if type.precision <= 18 else pa.large_string()
        return _decimal(type) if as_is else pa.float64() if type.scale else whole
    if is_.is_float16(type):
        return pa.float32()
    if _is(type, BYTES):
        return pa.large_binary() if as_is else pa.large_string()
    if _is(type, LISTS):
        str(type.value_field.name)  # polars panics where it is not text; here that is raised
        value = target(type.value_type, as_is)
        return None if value is None else pa.large_list(value)
    return None if is_.is_nested(type) or is_.is_interval(type) else type


def _decimal(type: pa.DataType) -> pa.DataType:
    """The type in which polars holds such decimals; longer ones raise ArrowInvalid."""
    if is_.is_decimal128(type) and 0 <= type.scale <= type.precision:
        return type
    return pa.decimal128(DIGITS, min(max(type.scale, 0), DIGITS))


def schema(types: pa.Schema, as_is: bool = False) -> Types:
    """The columns' types; those that cannot be read are a Struct."""
    return {field.name: _of_polars(target(field.type, as_is)) for field in types}


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


def chunk(batch: pa.RecordBatch, columns: Sequence[str], first: int, as_is: bool = False) -> Chunk:
    """A batch as a chunk whose first row has the number `first`.

    Raises:
      pa.ArrowInvalid: it is damaged, or a decimal has more than DIGITS digits.
    """
    read = {name: plain(batch.column(name)) for name in columns}
    kept, bad = np.ones(batch.num_rows, bool), {}
    for name, column in read.items():
        for row, value in _not_utf8(column, as_is).items():
            bad.setdefault(row, Reject(first + row, NOT_UTF8, name, repr(value)))
            kept[row] = False
    if bad:
        read = {name: column.filter(pa.array(kept)) for name, column in read.items()}
    frame = pl.DataFrame({name: series(column, as_is) for name, column in read.items()})
    return Chunk(frame, first + np.flatnonzero(kept), [bad[row] for row in sorted(bad)])


def series(array: pa.Array, as_is: bool = False) -> pl.Series:
    """A column as it is read; polars' own floats of decimals differ in the last bit."""
    read = target(array.type, as_is)
    return pl.from_arrow(array if array.type == read else array.cast(read))


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


def _not_utf8(array: pa.Array, as_is: bool) -> dict[int, bytes | list]:
    """{row: value} of text, alone or in lists, that is not UTF-8, which polars takes unchecked.

    Bytes that are read as they are count as none.

    Raises:
      pa.ArrowInvalid: the array is damaged in another way.
    """
    lists = _is(array.type, LISTS)
    inner = array.type.value_type if lists else array.type
    if not _is(inner, TEXTS) and (as_is or not _is(inner, BYTES)):
        array.validate(full=True)
        return {}

    def of(value: pa.DataType) -> pa.DataType:
        return pa.large_list(value) if lists else value

    raw = array.cast(of(pa.large_binary()))
    raw.validate(full=True)
    try:
        raw.cast(of(pa.large_string()))
        return {}
    except pa.ArrowInvalid:
        return {row: v for row, v in enumerate(raw.to_pylist()) if not _decodes(v)}


def _decodes(value: bytes | list | None) -> bool:
    if isinstance(value, list):
        return all(map(_decodes, value))
    try:
        return value is None or isinstance(value.decode(), str)
    except UnicodeDecodeError:
        return False
