"""Parquet files, row group by row group, in memory bounded by a chunk and a page a column."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from dtn_jax.datasets.logs.raw import arrow_types
from dtn_jax.datasets.logs.raw.files import RawFile, open_file
from dtn_jax.datasets.logs.raw.unit import Chunk, Types, Unit
from dtn_jax.errors import UserError

BUFFER = 1 << 20  # bytes of a column that are asked for at once


def schema(file: RawFile) -> Types:
    """The columns and their types."""
    with _opened(file) as parquet:
        return arrow_types.schema(parquet.schema_arrow)


def own(file: RawFile) -> Types:
    """The columns of decimals and of bytes, and their own types."""
    with _opened(file) as parquet:
        return arrow_types.own(parquet.schema_arrow)


def pieces(file: RawFile, rows: int) -> list[tuple[int, int, int, int]]:
    """(start, stop, first row, rows) of row groups, joined up to `rows` rows."""
    with _opened(file) as parquet:
        metadata = parquet.metadata
        sizes = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    return joined(sizes, rows)


def joined(sizes: Sequence[int], rows: int) -> list[tuple[int, int, int, int]]:
    """(start, stop, first row, rows) of neighbours that have at most `rows` rows, or are alone."""
    found, start, first, held = [], 0, 1, 0
    for n, size in enumerate(sizes):
        if held and held + size > rows:
            found.append((start, n, first, held))
            start, first, held = n, first + held, 0
        held += size
    return [*found, (start, len(sizes), first, held)] if held else found


def chunks(
    file: RawFile, unit: Unit, columns: Sequence[str], rows: int, as_is: Collection[str] = ()
) -> Iterator[Chunk]:
    """The unit's rows; see `read.chunks`."""
    columns, groups, first = list(columns), list(range(unit.start, unit.stop)), unit.first_row
    with _opened(file) as parquet:
        arrow_types.check_columns(file, parquet.schema_arrow, columns)
        try:
            for batch in _batches(parquet, groups, columns, rows):
                yield arrow_types.chunk(batch, columns, first, as_is)
                first += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            group = _damaged(parquet, groups, columns, rows, as_is)
            told = f"{file.address}: row group {group} cannot be read: {error}"
            raise UserError(told) from None
    unit.check(file.address, first - unit.first_row)


def _batches(
    parquet: pq.ParquetFile, groups: list[int], columns: list[str], rows: int
) -> Iterator[pa.RecordBatch]:
    return parquet.iter_batches(rows, row_groups=groups, columns=columns, use_threads=False)


def _damaged(
    parquet: pq.ParquetFile,
    groups: list[int],
    columns: list[str],
    rows: int,
    as_is: Collection[str],
) -> int:
    """The first row group that cannot be read."""
    for group in groups[:-1]:
        try:
            for batch in _batches(parquet, [group], columns, rows):
                arrow_types.chunk(batch, columns, 1, as_is)
        except (pa.ArrowException, OSError):
            return group
    return groups[-1]


@contextlib.contextmanager
def _opened(file: RawFile) -> Iterator[pq.ParquetFile]:
    with open_file(file.address, mapped=False) as source:
        try:
            parquet = pq.ParquetFile(
                source,
                pre_buffer=False,  # which would hold whole row groups
                buffer_size=BUFFER,
                coerce_int96_timestamp_unit="us",  # in nanoseconds, years before 1677 wrap around
                page_checksum_verification=True,
            )
            arrow_types.schema(parquet.schema_arrow)  # names that are not text raise here
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file.address} is cut, or is no Parquet file: {error}") from None
        yield parquet
