"""A table in memory as a file of the log, for as long as a call needs it."""

from __future__ import annotations

import contextlib
import hashlib
import pathlib
from collections.abc import Iterator

import polars as pl

from dtn_jax.errors import UserError
from dtn_jax.shared_files import replacing

ROW_GROUP = 250_000


@contextlib.contextmanager
def written(table: object, home: pathlib.Path) -> Iterator[pathlib.Path]:
    """The Parquet file that a table becomes, named by its content, so that a call resumes."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "table.parquet"
    with replacing(path) as temporary:
        as_frame(table).write_parquet(temporary, row_group_size=ROW_GROUP)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    path = path.rename(home / f"table-{digest}.parquet")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def as_frame(table: object) -> pl.DataFrame:
    """A Polars, pandas or Arrow table as a Polars one."""
    if isinstance(table, pl.DataFrame):
        return table
    if isinstance(table, pl.LazyFrame):
        return table.collect()
    try:
        return pl.DataFrame(table)
    except Exception as error:
        raise UserError(
            f"input is a {type(table).__name__}; expected a path, a list of paths, or a Polars, "
            f"pandas or Arrow table ({error})"
        ) from None
