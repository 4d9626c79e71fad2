"""A folder that appears whole, under its name, or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator

from dtn_jax.errors import UserError
from dtn_jax.export.model_folder import MANIFEST
from dtn_jax.shared_files import to_disk

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
AT_FDCWD, EXCHANGE = -100, 2  # of Linux' renameat2


@contextlib.contextmanager
def new_folder(out: pathlib.Path, replace: bool) -> Iterator[pathlib.Path]:
    """Gives an empty folder beside `out`, which takes its name when the block ends.

    Where the block raises, or the process dies, `out` is as it was before. What a process that died
    has left is removed by the next one.

    Raises:
      UserError: `out` is there and is not to be replaced, or holds other things than a model; or
        it cannot be written, as where the disk is full.
    """
    check_free(out, replace)
    made = out.with_name(f".{out.name}.{uuid.uuid4().hex}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_left(out)
        made.mkdir()
        held = _lock(made)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from error
    try:
        yield made
        for path in (*made.rglob("*"), made):
            to_disk(path)
        check_free(out, replace)  # another process may have made it
        put_in_place(made, out)
        to_disk(out.parent)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(f"{out} is not written: {error.strerror} ({out.parent})") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)  # or what was there before
        os.close(held)


def check_free(out: pathlib.Path, replace: bool) -> None:
    """Raises UserError unless a model may be written to `out`."""
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not (out / MANIFEST).is_file()):
        raise UserError(f"{out} is there and holds no model; name a new folder")
    if not replace and any(out.iterdir()):
        raise UserError(f"{out} holds a model; name a new folder, or replace it by --replace")


def put_in_place(made: pathlib.Path, out: pathlib.Path) -> None:
    """Renames a folder to `out`. What was there has the other's name afterwards.

    Where the system can exchange two names, `out` is there all the time.
    """
    if not out.exists():
        made.rename(out)
        return
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename and rename(AT_FDCWD, bytes(made), AT_FDCWD, bytes(out), EXCHANGE) == 0:
        return
    aside = made.with_name(f"{made.name}.old")
    out.rename(aside)
    made.rename(out)
    aside.rename(made)


def _remove_left(out: pathlib.Path) -> None:
    """Removes what processes have left beside `out` that died while they wrote it."""
    for left in out.parent.glob(f".{_escaped(out.name)}.*.tmp"):
        with contextlib.suppress(OSError):
            held = _lock(left)
            shutil.rmtree(left, ignore_errors=True)
            os.close(held)


def _escaped(name: str) -> str:
    """A name that holds no pattern for `glob`."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _lock(folder: pathlib.Path) -> int:
    """Locks a folder until the descriptor is closed; raises OSError where another one holds it."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise
    return held
