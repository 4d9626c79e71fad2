"""Files that several processes share: locked, and written whole or not at all.

And what is said of a disk that is full, cannot be written, or holds something else.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pathlib
import re
import uuid
from collections.abc import Iterator
from typing import IO

from dtn_jax.errors import UserError

TEMPORARY = ".tmp"  # the suffix of a file that is being written
# What libraries raise, as other exceptions, when the disk fails them; {their words: its errno}.
FAULTS = {
    "RESOURCE_EXHAUSTED": errno.ENOSPC,  # of TensorStore
    "database or disk is full": errno.ENOSPC,  # of SQLite
    "attempt to write a readonly database": errno.EROFS,
    **{os.strerror(n): n for n in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)},
    **{os.strerror(n): n for n in (errno.EFBIG, errno.EIO, errno.ENAMETOOLONG)},
}
OF_MEMORY = ("MemoryError", "JaxRuntimeError")  # they use the same words of a device's memory
ROOM = "make room, and the same command goes on: what was saved before is whole"
REMEDIES = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EFBIG: "choose a disk that takes larger files",
    errno.EROFS: "name a place that can be written",
    errno.EACCES: "name a place that can be written",
    errno.EPERM: "name a place that can be written",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ENOTDIR: "a file stands where a folder is expected: move it away, or name another place",
    errno.EEXIST: "a file stands where a folder is expected: move it away, or name another place",
    errno.EISDIR: "a folder stands where a file is expected: move it away, or name another place",
    errno.ELOOP: "a link stands where a file or a folder is expected: delete the link",
}


def cache_folder() -> pathlib.Path:
    """The user's cache folder, for prepared sets and compiled programs."""
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root) / "dtn_jax"


def locked(path: pathlib.Path) -> IO | None:
    """Locks a file until it is closed or the process ends; None where another one holds it.

    On a file system without locks nothing is held, and nothing refused.
    """
    file = open_lock(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    except OSError:
        pass
    return file


def open_lock(path: pathlib.Path) -> IO:
    """Opens a file to lock it; what it holds stays, and a link is refused.

    Raises:
      OSError: it is a link, or cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o666), "r+")


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a file so that it is whole or as it was before, whatever other processes write."""
    with replacing(path) as temporary, temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # else a power cut may leave the new name and none of the text


def to_disk(path: pathlib.Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk.

    A power cut must not leave a name without what it names, or take away both a new file and the
    old one that it replaces.
    """
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Where a file is written that takes its place once it is whole; no two processes have the
    same. What the disk refuses is told of the file, not of that place."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        own = isinstance(error, OSError) and error.filename in (None, str(temporary))
        if own and error.errno:
            error.filename = str(path)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def move_aside(path: pathlib.Path, folder: pathlib.Path, name: str) -> pathlib.Path:
    """Moves a file or a folder into another, as `name`, or `name.2`, … where that is taken."""
    copies, kept = 1, folder / name
    while kept.exists():
        copies += 1
        kept = folder / f"{name}.{copies}"
    folder.mkdir(exist_ok=True)
    path.rename(kept)
    return kept


@contextlib.contextmanager
def disk_errors(path: pathlib.Path) -> Iterator[None]:
    """What is raised inside where the disk fails becomes an OSError that has a path."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        found = _fault(error)
        named = isinstance(error, OSError) and error.filename
        if named or not found:
            raise
        raise OSError(found, os.strerror(found), str(path)) from error


def _fault(error: BaseException | None) -> int | None:
    """The errno of a disk's fault, from what an exception or one of its causes says."""
    while error is not None:
        text = str(error)
        for words, number in FAULTS.items():
            if words in text and type(error).__name__ not in OF_MEMORY:
                return number
        error = error.__cause__
    return None


def told(error: OSError) -> str:
    """What to say of a file that cannot be read or written, and what to do."""
    named = error.filename2 or error.filename  # of a file that is moved, where it was to go
    name = os.fsdecode(named) if isinstance(named, str | bytes) else ""
    text = f"{name}: {error.strerror}" if name else error.strerror or str(error)
    return f"{text}; {REMEDIES.get(error.errno, '--debug shows where')}"


def full_path(path: str | pathlib.Path) -> pathlib.Path:
    """The absolute path of a file or a folder, without `~`, `.` and `..`: TensorStore, which reads
    checkpoints, refuses them. Links stay, unless a `..` asks where one leads.
    """
    found = pathlib.Path(path).expanduser().absolute()
    return pathlib.Path(os.path.realpath(found)) if ".." in found.parts else found


def check_place(path: str | pathlib.Path, what: str = "workdir", kind: str = "a folder") -> None:
    """Raises UserError where a path cannot be a folder's or a file's, whatever is on the disk."""
    if re.match(r"[A-Za-z][\w+.-]*:/", str(path)):
        raise UserError(f"{what} {path} is a URL, expected {kind} of this machine")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{what} {str(path)!a} is no text in UTF-8, so not all files can be written there"
        ) from None
