"""Checksums of a checkpoint's files, kept in its folder: what is read is what was written."""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np

from dtn_jax.errors import UserError
from dtn_jax.parallel import processes
from dtn_jax.shared_files import write_whole

T = TypeVar("T")
NAME = "checksums.json"  # {file: [bytes, checksum]}
PIECE = 1 << 20  # bytes read at a time: they stay in a core's cache
ROW = 512  # 64-bit words in a row of a piece
SHOWN = 300  # characters of orbax's messages, which can fill pages
# Orbax's notes on a checkpoint. No number is read from them, so another version may add them.
NOTES = {"_CHECKPOINT_METADATA", "commit_success.txt"}


class Damaged(Exception):
    """A checkpoint is not as it was saved; the message says which file is wrong, and how."""


def write(folder: pathlib.Path) -> None:
    """Writes the checksums of all files in a folder, whose files must be whole."""
    found = {name: [path.stat().st_size, checksum(path)] for name, path in _files(folder).items()}
    write_whole(folder / NAME, json.dumps(found, indent=1, sort_keys=True))


def are_there(folder: pathlib.Path) -> bool:
    """Whether a folder has checksums; those that an earlier version wrote have none."""
    return (folder / NAME).exists()


def damage(folder: pathlib.Path) -> str:
    """What is wrong with which file of a folder that has checksums; empty where nothing is.

    A file is wrong that is lost, changed, cannot be read, or was not there when the checksums were
    written. Hidden files, which file systems and desktops add, are left out.
    """
    try:
        expected = json.loads((folder / NAME).read_text())
        expected = {name: (int(size), str(told)) for name, (size, told) in expected.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return f"{NAME} cannot be read ({error})"
    files = _files(folder)
    if lost := sorted(expected.keys() - files.keys()):
        return f"{lost[0]} is lost"
    added = [n for n in files.keys() - expected.keys() if pathlib.PurePath(n).name not in NOTES]
    if added:
        return f"{min(added)} was not there when it was saved"
    for name, (size, told) in expected.items():
        try:
            there = files[name].stat().st_size
            if there != size:
                return f"{name} has {there:,} bytes, expected {size:,}"
            if checksum(files[name]) != told:
                return f"{name} has changed since it was saved (its checksum is another)"
        except OSError as error:
            return f"{name} cannot be read ({error})"
    return ""


def told_damage(folder: pathlib.Path, unknown: str = "") -> str:
    """What is wrong with a folder, by its name; '' if nothing, `unknown` if it has no checksums.

    The first process looks, and tells the others.
    """

    def tell() -> str:
        if not are_there(folder):
            return unknown and f"{folder} {unknown}"
        problem = damage(folder)
        return problem and f"{folder} is damaged: {problem}"

    return processes.told_by_first(tell)


def read(path: pathlib.Path, do: Callable[[], T]) -> T:
    """What `do` reads of a checkpoint whose files are as they were saved.

    Raises:
      Damaged: the files have changed; or they have no checksums and cannot be read.
      UserError: the files cannot be read although they have not changed; or, with several
        processes, although they may not have: each cannot resume from another checkpoint.
    """
    if problem := told_damage(path):
        raise Damaged(problem)
    known = are_there(path)
    if not known:
        print(
            f"warning: {path} has no checksums (an earlier version saved it, or the run was "
            "interrupted while saving), so damage to its files would not show"
        )
    try:
        return do()
    except UserError:
        raise
    except Exception as error:  # orbax raises many kinds, plain Exception among them
        problem = f"{path} cannot be read: {_short(error)}"
        if known or jax.process_count() > 1:
            raise UserError(f"checkpoint {problem}") from error
        raise Damaged(problem) from error


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


def _short(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text if len(text) <= SHOWN else text[:SHOWN] + " …"
