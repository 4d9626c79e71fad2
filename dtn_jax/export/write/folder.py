"""A folder that appears whole, under its name, or not at all.

It stands alone, as nothing else here knows of locks and of what a file system can exchange.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pathlib
import shutil
from collections.abc import Iterator

from dtn_jax.errors import UserError, disk_errors
from dtn_jax.export.model_folder import MANIFEST
from dtn_jax.files import to_disk

AT_FDCWD, EXCHANGE = -100, 2  # of Linux' renameat2


@contextlib.contextmanager
def new_folder(out: pathlib.Path, replace: bool) -> Iterator[pathlib.Path]:
    """Gives an empty folder beside `out`, which takes its name when the block ends.

    Where the block raises, or the process dies, `out` is as it was before. What a process that died
    has left is removed by the next one.

    Raises:
      UserError: `out` is there and is not to be replaced, holds other things than a model, or is
        being written by another process.
      OSError: it cannot be written, as where the disk is full.
    """
    check_free(out, replace)
    folder = out.with_name(f".{out.name}.tmp")
    with contextlib.ExitStack() as stack, disk_errors(out.parent):
        folder.mkdir(parents=True, exist_ok=True)
        held = os.open(folder, os.O_RDONLY)
        stack.callback(os.close, held)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another export writes {out} now: name another folder") from None
        stack.callback(shutil.rmtree, folder, ignore_errors=True)  # or what `out` was before
        for left in folder.iterdir():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield folder
        for path in (*folder.rglob("*"), folder):
            to_disk(path)
        check_free(out, replace)  # another process may have made it
        put_in_place(folder, out)
        to_disk(out.parent)


def check_free(out: pathlib.Path, replace: bool) -> None:
    """Raises UserError unless a model may be written to `out`."""
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not (out / MANIFEST).is_file()):
        raise UserError(f"{out} is there and holds no model; name a new folder")
    if not replace and any(out.iterdir()):
        raise UserError(f"{out} holds a model; name a new folder, or replace it by --replace")


def put_in_place(folder: pathlib.Path, out: pathlib.Path) -> None:
    """Renames a folder to `out`. What was there has the other's name afterwards.

    Where the system can exchange two names, `out` is there all the time.
    """
    if not out.exists():
        folder.rename(out)
        return
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename and rename(AT_FDCWD, bytes(folder), AT_FDCWD, bytes(out), EXCHANGE) == 0:
        return
    aside = folder.with_name(f"{folder.name}.old")
    out.rename(aside)
    folder.rename(out)
    aside.rename(folder)
