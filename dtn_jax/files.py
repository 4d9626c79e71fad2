"""Files: written whole, locked, hashed, and read as JSON with one error."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, TypeVar

from dtn_jax.errors import UserError

T = TypeVar("T")
TEMPORARY = ".tmp"  # the suffix of a file that is being written
HASHES = "checksums.json"  # of a checkpoint, a prepared set, a finished run: {file: bytes, SHA-256}


@contextlib.contextmanager
def reading(path: pathlib.Path, remedy: str) -> Iterator[pathlib.Path]:
    """Whatever is raised inside, by several libraries, as UserError: the file, why, the remedy."""
    try:
        yield path
    except Exception as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise UserError(f"{path} is missing or damaged ({why}); {remedy}") from None


def read_json(path: pathlib.Path, remedy: str, parse: Callable[[Any], T] = dict) -> T:
    """What `parse` makes of the JSON in a file; raises UserError where either cannot be read."""
    with reading(path, remedy):
        return parse(json.loads(path.read_text()))


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a file so that it is whole or as it was before, whatever other processes write."""
    with replacing(path) as temporary:
        temporary.write_text(text)


def to_disk(path: pathlib.Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk.

    A power cut must not leave a name without what it names, or take away both a new file and the
    old one that it replaces.
    """
    opened = os.open(path, os.O_RDONLY)
    os.fsync(opened)
    os.close(opened)


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Where a file is written that takes its place once it is whole, and on the disk; no two
    processes have the same. What the disk refuses is told of the file, not of that place."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        yield temporary
        to_disk(temporary)  # else a power cut may leave the new name and none of the content
        temporary.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def locked(path: pathlib.Path, wait: bool = False) -> IO | None:
    """Locks a file until it is closed or the process ends; what it holds stays.

    None where another process holds it, unless this is to `wait`. On a file system without locks
    nothing is held, and nothing refused.
    """
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        file.close()
        return None
    except OSError:
        pass
    return file


def sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_in(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The files in a folder and below by their names from there, but HASHES, hidden ones, which
    file systems and desktops add, and Python's caches."""
    names = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    left_out = re.compile(rf"{HASHES}$|(.*/)?(\.|__pycache__/)")
    return {name: path for name, path in sorted(names.items()) if not left_out.match(name)}


def hashes(files: Mapping[str, pathlib.Path], of: Callable = sha256) -> dict[str, dict]:
    """{name: {"bytes": its size, "sha256": what `of(path)` makes of it}} of files."""
    with ThreadPoolExecutor() as pool:  # hashing leaves the interpreter to others
        every = zip(files.items(), pool.map(of, files.values()))
        return {n: {"bytes": path.stat().st_size, "sha256": sha} for (n, path), sha in every}


def damage(folder: pathlib.Path, listed: dict | None = None, of: Callable = sha256) -> str:
    """What is wrong with which file of a folder; '' where nothing is.

    Args:
      folder: the files'.
      listed: what `hashes` gave of them; None: as the folder's HASHES has it.
      of: as in `hashes`.
    """
    try:
        listed = dict(json.loads((folder / HASHES).read_text())) if listed is None else listed
        for name, facts in hashes({name: folder / name for name in listed}, of).items():
            if facts != (was := listed[name]):
                sizes = f"it has {facts['bytes']:,} bytes, expected {was['bytes']:,}"
                why = "its SHA-256 is another" if facts["bytes"] == was["bytes"] else sizes
                return f"{name} has changed since it was saved ({why})"
    except FileNotFoundError as error:
        return f"{pathlib.Path(error.filename).relative_to(folder)} is missing"
    except Exception as error:
        return f"{HASHES}, or a file that it lists, cannot be read ({error})"
    return "" if listed else f"{HASHES} lists no file"
