"""Frames as files of a log, for as long as a call needs them."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from dtn_jax.data import progress
from dtn_jax.data.raw import columnar
from dtn_jax.errors import UserError
from dtn_jax.files import locked

LOCK = ".preparing"  # who prepares a set of frames holds it; nobody removes it
FOLDER = "frames"  # of a set that is prepared: what it is made from
SPLIT = "_split"  # the column of the log that says a row's split
ROW_GROUP = 250_000

Frames = pl.DataFrame | Iterable[pl.DataFrame]


@contextlib.contextmanager
def alone(home: pathlib.Path, name: str) -> Iterator[None]:
    """Waits until no other process prepares the set of this name there; a file system may have no
    locks."""
    home.mkdir(parents=True, exist_ok=True)
    lock = locked(home / LOCK)
    if lock is None:
        progress.say(f"Waiting for another process, which prepares {name}")
        lock = locked(home / LOCK, wait=True)
    with lock:
        yield


@contextlib.contextmanager
def written(frames: Frames | Mapping[str, Frames], home: pathlib.Path) -> Iterator[list[str]]:
    """The Parquet files that frames become, in order: one, or another whenever their columns or
    types change. Frames by split get a column SPLIT.

    Who writes to that home is there `alone`.
    """
    folder = home / FOLDER
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    try:
        folder.mkdir(parents=True)
        yield _write(frames, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(frames: Frames | Mapping[str, Frames], folder: pathlib.Path) -> list[str]:
    """Writes frames, one at a time."""
    splits = frames if isinstance(frames, Mapping) else {"": frames}
    paths: list[str] = []
    types = None
    with contextlib.ExitStack() as opened:
        for split, parts in splits.items():
            for frame in [parts] if isinstance(parts, pl.DataFrame) else parts:
                table = frame.to_arrow()
                if split:
                    table = table.append_column(SPLIT, pa.repeat(split, len(table)))
                if table.schema != types:
                    opened.close()
                    types = table.schema
                    paths.append(str(folder / f"{len(paths)}.parquet"))
                    writer = opened.enter_context(pq.ParquetWriter(paths[-1], types))
                writer.write_table(table, ROW_GROUP)
    return paths


def as_frame(table: object) -> pl.DataFrame:
    """A Polars, pandas or Arrow table as a Polars one."""
    if isinstance(table, pl.DataFrame):
        return table
    try:
        if isinstance(table, pa.Table | pa.RecordBatch):
            names, columns = table.schema.names, table.columns
            table = pa.table([columnar.plain(column) for column in columns], names=names)
        return pl.DataFrame(table)
    except Exception as error:
        raise UserError(
            f"input is a {type(table).__name__}; expected a path, a list of paths, or a Polars, "
            f"pandas or Arrow table ({error})"
        ) from None
