"""Files that several processes share: locked, and written whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import uuid
from collections.abc import Iterator
from typing import IO

TEMPORARY = ".tmp"  # the suffix of a file that is being written


def locked(path: pathlib.Path) -> IO | None:
    """Locks a file until it is closed or the process ends; None where another one holds it.

    On a file system without locks nothing is held, and nothing refused.
    """
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:
        pass
    return file


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a file so that it is whole or as it was before, whatever other processes write."""
    with replacing(path) as temporary, temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # else a power cut may leave the new name and none of the text


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Where a file is written that takes its place once it is whole; no two processes have the
    same."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
    yield temporary
    temporary.replace(path)


def move_aside(path: pathlib.Path, folder: pathlib.Path, name: str) -> pathlib.Path:
    """Moves a file or a folder into another, as `name`, or `name.2`, … where that is taken."""
    copies, kept = 1, folder / name
    while kept.exists():
        copies += 1
        kept = folder / f"{name}.{copies}"
    folder.mkdir(exist_ok=True)
    path.rename(kept)
    return kept
