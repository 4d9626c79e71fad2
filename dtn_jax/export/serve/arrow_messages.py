"""The messages of an Arrow stream, looked at before Arrow allocates what they declare.

A compressed buffer declares how long it is unpacked, which may be any number; so compressed
streams are refused. A batch declares its rows, which may have no bytes at all. Both stand in a
message's metadata, a FlatBuffer: https://arrow.apache.org/docs/format/Columnar.html (Message.fbs).
"""

from __future__ import annotations

import struct

import pyarrow as pa

from dtn_jax.export.serve.refused import Refused

HEADER = 2  # of a Message's fields
RECORD_BATCH, DICTIONARY_BATCH = 3, 2  # of its header's types
LENGTH, COMPRESSION = 0, 3  # of a RecordBatch's fields
DATA = 1  # of a DictionaryBatch's


def check(body: pa.Buffer, rows: int) -> None:
    """Refuses a stream of more rows, of compressed buffers, or of none that can be read.

    Raises:
      Refused: as said.
      pa.ArrowException: it is no stream.
    """
    found = 0
    for message in pa.ipc.MessageReader.open_stream(body):
        try:
            kind, length, compressed = _batch(message.metadata.to_pybytes())
        except (struct.error, IndexError):
            raise Refused(400, "the Arrow stream has a message that can't be read") from None
        if compressed:
            raise Refused(400, "the Arrow stream is compressed, expected one that is not")
        if kind == RECORD_BATCH:
            found += length
        if length < 0 or found > rows:
            raise Refused(413, f"more than {rows:,} rows, which is the most that is scored at once")


def _batch(metadata: bytes) -> tuple[int, int, bool]:
    """(type, rows, whether buffers are compressed) of a message; 0 rows of others than batches."""
    root = struct.unpack_from("<I", metadata)[0]
    kind = _field(metadata, root, 1)
    kind = metadata[kind] if kind else 0
    if kind not in (RECORD_BATCH, DICTIONARY_BATCH):
        return kind, 0, False
    table = _table(metadata, root, HEADER)
    if kind == DICTIONARY_BATCH:
        table = _table(metadata, table, DATA)
    length = _field(metadata, table, LENGTH)
    rows = struct.unpack_from("<q", metadata, length)[0] if length else 0
    return kind, rows, bool(_field(metadata, table, COMPRESSION))


def _field(data: bytes, table: int, number: int) -> int:
    """Where a table's field lies; 0 where the table has none."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0:
        raise IndexError(vtable)
    size = struct.unpack_from("<H", data, vtable)[0]
    entry = 4 + 2 * number
    offset = struct.unpack_from("<H", data, vtable + entry)[0] if entry + 2 <= size else 0
    return table + offset if offset else 0


def _table(data: bytes, table: int, number: int) -> int:
    """Where a table's field, itself a table, lies."""
    at = _field(data, table, number)
    if not at:
        raise IndexError(number)
    return at + struct.unpack_from("<I", data, at)[0]
