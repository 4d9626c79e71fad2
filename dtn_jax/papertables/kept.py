"""Where cells and tunings are kept: each first in a file of its own, then all in one pack.

    FOLDER/cells/NAME.json, FOLDER/tuning/NAME.json   what was just found
    FOLDER/cells.jsonl.xz                             the pack

What a run found costs hours, so it never depends on a large file being written well. It becomes a
file of its own, which appears whole, whatever other processes write beside it. `pack` moves those
files into the pack when a table is done: one process at a time writes a new pack, reads it back and
puts it in the old one's place; only then are the files deleted. A process that dies before that
leaves both, and the next one packs again. Who looks for a cell looks for its file first and in the
pack after that, so that what is packed meanwhile is found.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping

from dtn_jax import checksums
from dtn_jax.errors import UserError
from dtn_jax.papertables import draws
from dtn_jax.papertables import pack as packs
from dtn_jax.shared_files import locked, open_lock, write_whole

CHECKSUM = "checksum"  # in a cell or a tuning: of all else that it holds
FOLDERS = ("cells", "tuning")  # of the files that are packed


class Damaged(UserError):
    """A cell or tuning that cannot be used, and may be set aside."""


def read_json(path: pathlib.Path) -> dict | None:
    """What a JSON file holds, None where it is not there.

    Raises:
      Damaged: it holds none, or not what was written, by its checksum.
    """
    try:
        return opened(json.loads(path.read_text()), path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UserError:
        raise
    except checksums.UNREADABLE as error:
        raise Damaged(f"{path} is damaged ({error})") from None


def sealed(content: Mapping) -> dict:
    """The content with its checksum."""
    own = {key: value for key, value in content.items() if key != CHECKSUM}
    text = json.dumps(own, sort_keys=True)
    return own | {CHECKSUM: hashlib.sha256(text.encode()).hexdigest()}


def opened(found: object, path: pathlib.Path) -> object:
    """What was sealed, or is of a version without checksums; raises Damaged where it was edited."""
    if not isinstance(found, dict) or CHECKSUM not in found:
        return found
    if sealed(found)[CHECKSUM] != found[CHECKSUM]:
        raise Damaged(f"{path} is damaged (it was changed: its checksum is another)")
    return {key: value for key, value in found.items() if key != CHECKSUM}


def read(path: pathlib.Path) -> dict | None:
    """The cell or tuning of this file, in it or in the pack; None where it is in neither.

    Raises:
      Damaged: the file is.
      UserError: the pack is.
    """
    found = read_single(path)
    packed = packs.read(folder_of(path)).get(name_of(path)) if found is None else found
    return opened(packed, path)


def exists(path: pathlib.Path) -> bool:
    """Whether there is a file, or a cell or tuning of its name in the pack."""
    return path.exists() or name_of(path) in packs.read(folder_of(path))


def read_single(path: pathlib.Path) -> dict | None:
    """What the file holds; draws that an older version kept become what they are now."""
    found = read_json(path)
    if isinstance(found, dict) and isinstance(found.get("draws"), dict):
        try:
            old = {key: v for key, v in found["draws"].items() if isinstance(v, str)}
            found["draws"] |= {key: draws.of_float16(text) for key, text in old.items()}
        except ValueError as error:
            raise Damaged(f"{path} is damaged ({error})") from None
    return found


def keep(path: pathlib.Path, content: Mapping) -> None:
    """Writes a JSON file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(sealed(content), indent=1) + "\n")


def set_aside(path: pathlib.Path) -> pathlib.Path:
    """Makes room for what is computed anew: what was there is now NAME.damaged; returns that."""
    aside = path.with_suffix(".damaged")
    if path.exists():
        path.replace(aside)
    else:  # in the pack, where what is computed anew will take its place
        keep(aside, packs.read(folder_of(path))[name_of(path)])
    return aside


def pack(folder: pathlib.Path) -> None:
    """Moves the files of a folder's cells and tunings into its pack; damaged ones stay.

    On a file system without locks all stay: two processes would write over each other's pack.
    """
    if not singles(folder):
        return
    with only_one(folder / "locks" / "pack.lock") as certain:
        if not certain:
            return
        after, texts = dict(packs.read(folder)), {}
        for path in singles(folder):
            with contextlib.suppress(Damaged, FileNotFoundError):
                text = path.read_bytes()
                if isinstance(content := read_single(path), dict):
                    after[name_of(path)], texts[path] = sealed(content), text
        packs.write(folder, after)
        for path, text in texts.items():
            with contextlib.suppress(FileNotFoundError):
                if path.read_bytes() == text:  # else it was made anew meanwhile
                    path.unlink()


def singles(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for name in FOLDERS for path in (folder / name).glob("*.json"))


def folder_of(path: pathlib.Path) -> pathlib.Path:
    return path.parent.parent


def name_of(path: pathlib.Path) -> str:
    """'cells/NAME' of FOLDER/cells/NAME.json: by that it is in the pack."""
    return f"{path.parent.name}/{path.stem}"


@contextlib.contextmanager
def alone(path: pathlib.Path) -> Iterator[bool]:
    """Holds a lock that ends with the process; yields False where another process holds it.

    Processes on one machine, or on one file system that has locks, share a table's work by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held = locked(path)
    with held or contextlib.nullcontext():
        yield held is not None


@contextlib.contextmanager
def only_one(path: pathlib.Path) -> Iterator[bool]:
    """Waits until no other process is here; yields False where the file system cannot tell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_lock(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
            return
        yield True
