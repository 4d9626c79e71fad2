"""Arrow IPC files (Feather too), record batch by record batch."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence

import pyarrow as pa

from dtn_jax.datasets.logs.raw import arrow_types
from dtn_jax.datasets.logs.raw.files import RawFile, open_file
from dtn_jax.datasets.logs.raw.parquet import joined
from dtn_jax.datasets.logs.raw.unit import Chunk, Types, Unit
from dtn_jax.errors import UserError

Reader = pa.ipc.RecordBatchFileReader


def schema(file: RawFile) -> Types:
    """The columns and their types."""
    with _opened(file) as reader:
        return arrow_types.schema(reader.schema)


def own(file: RawFile) -> Types:
    """The columns of decimals and of bytes, and their own types."""
    with _opened(file) as reader:
        return arrow_types.own(reader.schema)


def pieces(file: RawFile, rows: int) -> list[tuple[int, int, int, int]]:
    """(start, stop, first row, rows) of record batches, joined up to `rows` rows."""
    with _opened(file, fields=[0]) as reader:  # the sizes are in the batches
        sizes = []
        for n in range(reader.num_record_batches):
            with _told(file, n):
                sizes.append(reader.get_batch(n).num_rows)
    return joined(sizes, rows)


def chunks(
    file: RawFile, unit: Unit, columns: Sequence[str], rows: int, as_is: Collection[str] = ()
) -> Iterator[Chunk]:
    """The unit's rows; see `read.chunks`."""
    columns, first = list(columns), unit.first_row
    with _opened(file) as reader:
        arrow_types.check_columns(file, reader.schema, columns)
        fields = sorted(map(reader.schema.get_field_index, columns))
    with _opened(file, fields) as reader:
        for n in range(unit.start, unit.stop):
            with _told(file, n):
                batch = reader.get_batch(n)
            for start in range(0, batch.num_rows, rows):
                part = batch.slice(start, rows)
                with _told(file, n):
                    chunk = arrow_types.chunk(part, columns, first, as_is)
                yield chunk
                first += part.num_rows
    unit.check(file.address, first - unit.first_row)


@contextlib.contextmanager
def _told(file: RawFile, batch: int) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file.address}: record batch {batch} cannot be read: {error}") from None


@contextlib.contextmanager
def _opened(file: RawFile, fields: Sequence[int] = ()) -> Iterator[Reader]:
    """A reader of some of the columns, by number; of all where none is given."""
    options = pa.ipc.IpcReadOptions(included_fields=list(fields), use_threads=False)
    with open_file(file.address) as source:
        try:
            reader = pa.ipc.open_file(source, options=options)
            arrow_types.schema(reader.schema)  # names that are not text raise here
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file.address} is cut, or is no Arrow file: {error}") from None
        yield reader
