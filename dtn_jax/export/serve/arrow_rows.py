"""An Arrow IPC stream to a table of the model's columns.

Columns hold numbers, texts, times, or lists of numbers or texts, dictionaries too. What a stream
declares is checked before it is believed: arrow_messages.py, then Arrow's own full validation.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from dtn_jax.errors import UserError
from dtn_jax.export import raw_rows
from dtn_jax.export.serve import arrow_messages
from dtn_jax.export.serve.asked import Asked
from dtn_jax.export.serve.json_rows import IGNORED
from dtn_jax.export.serve.limits import TEXT, Limits
from dtn_jax.export.serve.reading import Reading
from dtn_jax.export.serve.refused import Refused, shown

STREAM = "application/vnd.apache.arrow.stream"
TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
NUMBERS = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
)
SCALARS = (*TEXTS, *NUMBERS, pa.types.is_temporal, pa.types.is_null)
LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


def read(body: bytes, reading: Reading, limits: Limits, outputs: object = None) -> Asked:
    """What a body asks for; see `json_rows.read`."""
    chosen = reading.chosen(outputs)
    try:
        found = _table(body, reading, limits)
        raw_rows.check_there(found.column_names, reading.columns, tuple(reading.optional))
        frame, bad = raw_rows.table(found, reading.types, tuple(reading.optional))
        _check_size(frame, limits)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        status = 422 if isinstance(error, UserError) else 400
        told = str(error) if status == 422 else f"not an Arrow stream: {error}"
        raise Refused(status, shown(told)) from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise Refused(422, shown(f"the Arrow stream can't be read: {error}")) from None
    if not bad.good.all():
        first = bad.account.kept[0][1]
        expected = reading.expected[first.column]
        raise Asked(len(frame), chosen).refused(first, first.row - 1, expected)
    ignored = sorted(map(shown, set(found.column_names) - set(reading.columns)))
    return Asked(len(frame), chosen, tuple(ignored[:IGNORED]), frame)


def _table(body: bytes, reading: Reading, limits: Limits) -> pa.Table:
    """The stream's columns that the model reads; of the others an empty one each."""
    buffer = pa.py_buffer(body)
    arrow_messages.check(buffer, limits.rows)
    with pa.ipc.open_stream(buffer) as stream:
        names = stream.schema.names
        for field in stream.schema:
            if field.name in reading.columns:
                _check_type(field, reading)
        wanted = [at for at, name in enumerate(names) if name in reading.columns]
        batches = [batch.select(wanted) for batch in stream]
        for batch in batches:
            batch.validate(full=True)
            for column in batch.columns:
                _check_items(column, len(body))
        schema = pa.schema([stream.schema.field(at) for at in wanted])
    found = pa.Table.from_batches(batches, schema)
    others = [name for name in names if name not in reading.columns]
    nothing = pa.nulls(found.num_rows)
    for name in dict.fromkeys(others[:IGNORED]):
        found = found.append_column(name, nothing)
    return found


def _check_type(field: pa.Field, reading: Reading) -> None:
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    elif any(test(kind) for test in LISTS):
        str(kind.value_field)  # its name is text, without which polars panics
        kind = kind.value_type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not any(test(kind) for test in SCALARS):
        expected = reading.expected[field.name]
        told = {"row": None, "column": field.name, "got": str(field.type), "expected": expected}
        raise Refused(422, f"column {field.name!r} is {field.type}, expected {expected}", told)


def _check_items(column: pa.Array, most: int) -> None:
    """Refuses lists of more items than the body has bytes: they are nulls, which take none."""
    if any(test(column.type) for test in LISTS) and len(column.values) > most:
        raise Refused(413, f"a list column declares {len(column.values):,} items")


def _check_size(frame: pl.DataFrame, limits: Limits) -> None:
    """Refuses long texts, and such as many rows share, which take far more bytes than the body."""
    size = 0
    for column in frame.get_columns():
        values = column.list.explode() if isinstance(column.dtype, pl.List) else column
        if isinstance(values.dtype, pl.Categorical | pl.Enum):
            values = values.cast(pl.String)
        if values.dtype == pl.String:
            lengths = values.str.len_bytes()
            size += lengths.sum()
            if (lengths.max() or 0) > TEXT:
                told = f"column {column.name!r} has a text of more than {TEXT:,} bytes"
                raise Refused(422, told)
    if size > limits.spread_bytes:
        raise Refused(413, f"texts of {size:,} bytes, at most {limits.spread_bytes:,} are scored")
