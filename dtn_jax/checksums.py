"""Checksums of a folder's files, kept in it: what is read is what was written.

Checkpoints, prepared sets and finished runs have them.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import IO

import numpy as np

from dtn_jax.shared_files import write_whole

# what reading a file of JSON raises that holds something else
UNREADABLE = (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError)
Checksum = Callable[[pathlib.Path], str]
NAME = "checksums.json"  # {file: [bytes, checksum]}
PIECE = 1 << 20  # bytes read at a time: they stay in a core's cache
ENDS = 64 << 10  # bytes of each end of a long file that are hashed
ROW = 512  # 64-bit words in a row of a piece
# Orbax's notes on a checkpoint. No number is read from them, so another version may add them.
NOTES = {"_CHECKPOINT_METADATA", "commit_success.txt"}


def write(
    folder: pathlib.Path,
    files: Mapping[str, pathlib.Path] | None = None,
    of: Checksum | None = None,
) -> None:
    """Writes the checksums of files in a folder, which must be whole.

    Args:
      folder: theirs, where NAME will be.
      files: by their names from there, where they are as yet; None: all.
      of: makes a checksum of a file; None: `checksum`.
    """
    files = _files(folder) if files is None else files
    of = of or checksum
    found = {name: [path.stat().st_size, of(path)] for name, path in files.items()}
    write_whole(folder / NAME, json.dumps(found, indent=1, sort_keys=True))


def ends(file: IO[bytes], size: int) -> str:
    """SHA-256 of the first and last ENDS bytes of an open file of so many: cheap at any size, and
    shows most edits."""
    digest = hashlib.sha256(file.read(ENDS))
    file.seek(max(0, size - ENDS))
    digest.update(file.read(ENDS))
    return digest.hexdigest()


def names(folder: pathlib.Path) -> list[str]:
    """The files that have checksums; [] where these are damaged."""
    try:
        return [str(name) for name in json.loads((folder / NAME).read_text())]
    except UNREADABLE:
        return []


def are_there(folder: pathlib.Path) -> bool:
    """Whether a folder has checksums; those that an earlier version wrote have none."""
    return (folder / NAME).exists()


def damage(
    folder: pathlib.Path, only: Iterable[str] | None = None, of: Checksum | None = None
) -> str:
    """What is wrong with which file of a folder that has checksums; empty where nothing is.

    A file is wrong that is missing, changed, cannot be read, or was not there when the checksums
    were written. Hidden files, which file systems and desktops add, are left out.

    Args:
      folder: the files'.
      only: look at these files alone, as far as they have checksums; None: at all.
      of: as in `write`.
    """
    of = of or checksum
    try:
        expected = json.loads((folder / NAME).read_text())
        expected = {name: (int(size), str(told)) for name, (size, told) in expected.items()}
    except UNREADABLE as error:
        return f"{NAME} cannot be read ({error})"
    if only is None:
        files = _files(folder)
    else:
        expected = {name: expected[name] for name in only if name in expected}
        files = {name: folder / name for name in expected if (folder / name).is_file()}
    if lost := sorted(expected.keys() - files.keys()):
        return f"{lost[0]} is missing"
    added = [n for n in files.keys() - expected.keys() if pathlib.PurePath(n).name not in NOTES]
    if added:
        return f"{min(added)} was not there when it was saved"
    for name, (size, told) in expected.items():
        try:
            there = files[name].stat().st_size
            if there != size:
                return f"{name} has {there:,} bytes, expected {size:,}"
            if of(files[name]) != told:
                return f"{name} has changed since it was saved (its checksum is another)"
        except OSError as error:
            return f"{name} cannot be read ({error})"
    return ""


def checksum(path: pathlib.Path) -> str:
    """The checksum of a file: SHA-256, of sums in place of the bytes where it is large.

    SHA-256 of all bytes would take longer than a tenth of a restore. So each whole piece of 1 MiB
    is taken as a matrix `[256, 512]` of 64-bit words, and SHA-256 reads the sums of its columns and
    of its rows, modulo 2^64. Words that change in one, two or three places always change a sum; so
    do rows that trade places; four or more go unseen only where they cancel in each row and each
    column. The rest of the file, or all of one below 1 MiB, is read as it is.
    """
    digest = hashlib.sha256()
    words = np.empty((PIECE // (8 * ROW), ROW), "<u8")
    piece = memoryview(words).cast("B")
    with path.open("rb", buffering=0) as file:
        while True:
            count = _fill(file, piece)
            if count < PIECE:
                digest.update(piece[:count])
                return digest.hexdigest()
            digest.update(np.add.reduce(words, axis=0))
            digest.update(np.add.reduce(words, axis=1))


def _fill(file, piece: memoryview) -> int:
    """Reads until a piece is full or the file ends; a read may give less than it was asked for."""
    count = 0
    while count < len(piece) and (got := file.readinto(piece[count:])):
        count += got
    return count


def _files(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The files in a folder and below by their names from there, but the checksums."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return {
        name: path
        for name, path in found.items()
        if name != NAME and not any(part.startswith(".") for part in name.split("/"))
    }
