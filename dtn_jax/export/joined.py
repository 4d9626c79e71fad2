"""The output of scoring, to which the parts are appended while others are still being scored."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterator, Mapping

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from dtn_jax.shared_files import to_disk

GROUP = 1 << 17  # rows of a Parquet file's row group; more only where a chunk has more
PIECE = 1 << 20  # bytes that are copied at a time


class Joined:
    """A file that takes the place of the output once it is closed.

    Args:
      temporary: where it lies until then, on the output's file system.
      output: its place; its suffix says the format.
      empty: the columns of the output.
      metadata: of a Parquet file.

    Raises:
      OSError: here, or in a method: it can't be written.
    """

    def __init__(
        self,
        temporary: pathlib.Path,
        output: pathlib.Path,
        empty: pl.DataFrame,
        metadata: Mapping[str, str],
    ):
        self._temporary, self._output = temporary, output
        self._schema = empty.to_arrow().schema.with_metadata(dict(metadata))
        self._file = temporary.open("wb")
        self._parquet: pq.ParquetWriter | None = None
        if output.suffix == ".parquet":
            texts = [f.name for f in self._schema if pa.types.is_large_string(f.type)]
            self._parquet = pq.ParquetWriter(  # texts alone are worth a dictionary
                self._file, self._schema, compression="zstd", use_dictionary=texts
            )
        elif output.suffix == ".csv":
            empty.write_csv(self._file)

    def append(self, part: pathlib.Path) -> None:
        """Adds the rows of a part, which is an Arrow file for Parquet, and text without a header
        otherwise."""
        if self._parquet is None:
            with part.open("rb") as rows:
                shutil.copyfileobj(rows, self._file, PIECE)
            return
        with pa.OSFile(str(part)) as file:
            for table in _tables(pa.ipc.open_file(file)):
                self._parquet.write_table(table.cast(self._schema))

    def close(self) -> None:
        """Puts the output in its place, where a power cut leaves it whole."""
        if self._parquet is not None:
            self._parquet.close()
        self._file.close()
        to_disk(self._temporary)
        self._temporary.replace(self._output)
        to_disk(self._output.parent)

    def abandon(self) -> None:
        """Closes and removes what is not whole."""
        for file in (self._parquet, self._file):
            if file is not None:
                with contextlib.suppress(OSError, pa.ArrowException):
                    file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)


def _tables(reader: pa.ipc.RecordBatchFileReader) -> Iterator[pa.Table]:
    """The rows of an Arrow file, GROUP or little more at a time."""
    held: list[pa.RecordBatch] = []
    for n in range(reader.num_record_batches):
        held.append(reader.get_batch(n))
        if sum(batch.num_rows for batch in held) >= GROUP:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)
