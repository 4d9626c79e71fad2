"""Files: written whole, locked, hashed, and read as JSON with one error."""

from __future__ import annotations

import contextlib
import difflib
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
Digest = Callable[[pathlib.Path], str]  # of a file
ENDS = 64 << 10  # bytes of each end of a long file that are hashed
TEMPORARY = ".tmp"  # the suffix of a file that is being written
HASHES = "checksums.json"  # of a checkpoint, a prepared set, a finished run: {file: bytes, SHA-256}


class Damaged(UserError):
    """A file is missing, or is not as it was written."""


@contextlib.contextmanager
def reading(path: pathlib.Path, remedy: str) -> Iterator[pathlib.Path]:
    """Whatever is raised inside, by several libraries, as `Damaged`: the file, why, the remedy."""
    try:
        yield path
    except Exception as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise Damaged(f"{path} is missing or damaged ({why}); {remedy}") from None


def read_json(path: pathlib.Path, remedy: str, parse: Callable[[Any], T] = dict) -> T:
    """What `parse` makes of the JSON in a file; raises `Damaged` where either cannot be read."""
    with reading(path, remedy):
        return parse(json.loads(path.read_text()))


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a file so that it is whole or as it was before, whatever other processes write."""
    with replacing(path) as temporary:
        temporary.write_text(text)
        to_disk(temporary)  # else a power cut may leave the new name and none of the text


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
    """Where a file is written that takes its place once it is whole; no two processes have the
    same. What the disk refuses is told of the file, not of that place."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        yield temporary
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


def ends(file: IO[bytes], size: int) -> str:
    """SHA-256 of the first and last ENDS bytes of an open file of so many: cheap at any size, and
    shows most edits."""
    digest = hashlib.sha256(file.read(ENDS))
    file.seek(max(0, size - ENDS))
    digest.update(file.read(ENDS))
    return digest.hexdigest()


def files_in(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The files in a folder and below by their names from there, but HASHES, hidden ones, which
    file systems and desktops add, and Python's caches."""
    names = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    left_out = re.compile(rf"{HASHES}$|(.*/)?(\.|__pycache__/)")
    return {name: path for name, path in sorted(names.items()) if not left_out.match(name)}


def hashes(files: Mapping[str, pathlib.Path], of: Digest | None = sha256) -> dict[str, dict]:
    """{name: {"bytes": its size, "sha256": what `of` makes of it}} of files; None: sizes alone."""
    facts = {name: {"bytes": path.stat().st_size} for name, path in files.items()}
    with ThreadPoolExecutor() as pool:  # hashing leaves the interpreter to others
        for name, digest in zip(files, pool.map(of, files.values()) if of else ()):
            facts[name]["sha256"] = digest
    return facts


def damage(folder: pathlib.Path, listed: dict | None = None, of: Digest | None = sha256) -> str:
    """What is wrong with which file of a folder; '' where nothing is.

    Args:
      folder: the files'.
      listed: what `hashes` gave of them; None: as the folder's HASHES has it.
      of: as in `hashes`.
    """
    try:
        listed = dict(json.loads((folder / HASHES).read_text())) if listed is None else listed
        for name, facts in hashes({name: folder / name for name in listed}, of).items():
            size, expected = facts["bytes"], listed[name]["bytes"]
            if size != expected:
                return f"{name} has {size:,} bytes, expected {expected:,}"
            if not facts.items() <= listed[name].items():
                return f"{name} has changed since it was saved (its SHA-256 is another)"
    except FileNotFoundError as error:
        return f"{pathlib.Path(error.filename).relative_to(folder)} is missing"
    except Exception as error:
        return f"{HASHES}, or a file that it lists, cannot be read ({error})"
    return "" if listed else f"{HASHES} lists no file"


def cache_folder() -> pathlib.Path:
    """The user's cache folder, for prepared sets and compiled programs."""
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root) / "dtn_jax"


def schema_path(path: str | pathlib.Path) -> pathlib.Path:
    """A schema file; raises UserError, with the nearest name beside it, where there is none."""
    file = pathlib.Path(path).expanduser()
    if not file.exists():
        beside = [p for p in file.parent.glob("*") if p.suffix in (".yaml", ".yml", ".json")]
        names = sorted(p.name for p in beside)
        near = difflib.get_close_matches(file.name, names, n=1, cutoff=0)
        hint = f"; did you mean {file.with_name(near[0])}?" if near else ""
        raise UserError(f"there is no schema file {str(path)!r}{hint}")
    return file


def full_path(path: str | pathlib.Path) -> pathlib.Path:
    """The absolute path of a file or a folder, without `~`, `.` and `..`: TensorStore, which reads
    checkpoints, refuses them. Links stay, unless a `..` asks where one leads.
    """
    whole = pathlib.Path(path).expanduser().absolute()
    return pathlib.Path(os.path.realpath(whole)) if ".." in whole.parts else whole


def check_place(path: str | pathlib.Path, what: str = "workdir", kind: str = "a folder") -> None:
    """Raises UserError where a path cannot be a folder's or a file's, whatever is on the disk."""
    if re.match(r"[A-Za-z][\w+.-]*:/", str(path)):
        raise UserError(f"{what} {path} is a URL, expected {kind} of this machine")
    if what == "workdir" and set(str(full_path(path))) & set("*?[]"):  # Orbax reads globs
        raise UserError(f"workdir {full_path(path)} has one of * ? [ ] in it; give another name")
