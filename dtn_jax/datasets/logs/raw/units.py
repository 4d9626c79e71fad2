"""Raw files cut into units, by the files alone: never by how many processes read them."""

from __future__ import annotations

from collections.abc import Sequence

from dtn_jax.datasets.logs.raw import arrow, csv, json_lines, parquet
from dtn_jax.datasets.logs.raw.files import RawFile
from dtn_jax.datasets.logs.raw.unit import Unit
from dtn_jax.datasets.logs.schema.spec import InputSpec

ROWS = 1_000_000  # of a unit of a Parquet or Arrow file, where its pieces are smaller
BYTES = 64 << 20  # of a unit of a text file

__all__ = ["BYTES", "ROWS", "Unit", "plan"]


def plan(
    files: Sequence[RawFile], input: InputSpec, rows: int = ROWS, size: int = BYTES
) -> list[Unit]:
    """The units of all files, in their order.

    Args:
      files: as `find` gives them.
      input: how they are read.
      rows: row groups or record batches are joined up to so many; a larger one is a unit.
      size: bytes after which a text file is cut, at the next line end. A gzip file is one unit.

    Raises:
      UserError: a file cannot be read.
    """
    return [
        Unit(number, *piece)
        for number, file in enumerate(files)
        for piece in _pieces(file, input, rows, size)
    ]


def _pieces(
    file: RawFile, input: InputSpec, rows: int, size: int
) -> list[tuple[int, int, int, int]]:
    headless = file.format == "jsonl" or (file.format == "csv" and input.columns)
    if headless and not file.size:  # Spark writes empty parts so
        return []
    if file.format == "parquet":
        return parquet.pieces(file, rows)
    if file.format == "arrow":
        return arrow.pieces(file, rows)
    if file.format == "csv":
        return csv.pieces(file, input, size)
    return json_lines.pieces(file, size)
