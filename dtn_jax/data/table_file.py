"""A table in memory as a file of the log, for as long as a call needs it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import pathlib
import uuid
from collections.abc import Iterator

import polars as pl

from dtn_jax.errors import UserError

ROW_GROUP = 250_000


@contextlib.contextmanager
def written(table: object, home: pathlib.Path) -> Iterator[pathlib.Path]:
    """The Parquet file that a table becomes, named by its content, so that a call resumes.

    Who uses it holds a lock on it, which ends with the process: `remove_left` finds by that what a
    killed call has left.
    """
    home.mkdir(parents=True, exist_ok=True)
    path = home / f"table.{uuid.uuid4().hex}.parquet"
    try:
        with path.open("wb") as file, contextlib.ExitStack() as held:
            _hold(file.fileno(), fcntl.LOCK_SH)
            as_frame(table).write_parquet(file, row_group_size=ROW_GROUP)
            file.flush()
            with path.open("rb") as made:
                digest = hashlib.file_digest(made, "sha256").hexdigest()[:12]
            path = _placed(path, home / f"table-{digest}.parquet", held)
            yield path
    finally:
        _remove(path)


def _placed(made: pathlib.Path, target: pathlib.Path, held: contextlib.ExitStack) -> pathlib.Path:
    """Moves a file to its place, unless a call uses the one there, which then has two users."""
    with contextlib.suppress(FileNotFoundError):
        there = held.enter_context(target.open("rb"))
        if not _hold(there.fileno(), fcntl.LOCK_EX):
            _hold(there.fileno(), fcntl.LOCK_SH)
            made.unlink()
            return target
    return made.rename(target)


def remove_left(home: pathlib.Path) -> None:
    """Removes the files of tables that no call uses any more."""
    for path in home.glob("table[.-]*.parquet"):
        _remove(path)


def _remove(path: pathlib.Path) -> None:
    """Removes a table's file unless a call uses it."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        if _hold(file.fileno(), fcntl.LOCK_EX):
            path.unlink()


def _hold(file: int, lock: int) -> bool:
    """Locks an open file, or finds that others hold it; a file system may have no locks."""
    try:
        fcntl.flock(file, lock | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


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
