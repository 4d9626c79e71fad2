"""A prepared set's files are those that were written: they have checksums, like checkpoints.

All files are verified whenever a set is opened. Of a long file of records that means its
ends, with the index of its records: array_record itself verifies each record that it reads.
"""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Iterable

from dtn_jax import checksums
from dtn_jax.errors import UserError

ENDS = 64 << 10  # bytes of each end of a long file that are hashed
LONG = 64 << 20  # bytes of a file of records beyond which its ends stand for it
RECORDS = ".array_record"  # in the names of files of records


def remedy(folder: pathlib.Path) -> str:
    return f"delete {folder} to prepare the data set again"


def seal(folder: pathlib.Path, leave_out: Iterable[str] = ()) -> None:
    """Writes the checksums of a set's files, all of which must be there.

    Args:
      folder: the set's.
      leave_out: files that nothing is read from.
    """
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    files = {n: path for n, path in files.items() if n not in (*leave_out, checksums.NAME)}
    checksums.write(folder, files, _checksum)


def check(folder: pathlib.Path) -> None:
    """Raises UserError where a file of a set is missing, or is not as it was prepared."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder, expected a prepared set; {remedy(folder)}")
    if problem := checksums.damage(folder, checksums.names(folder), _checksum):
        raise UserError(f"{folder}/{problem}; {remedy(folder)}")


def hash_ends(path: pathlib.Path) -> str:
    """SHA-256 of a file's first and last ENDS bytes: cheap at any size, and shows most edits."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            digest.update(file.read(ENDS))
            file.seek(max(0, path.stat().st_size - ENDS))
            digest.update(file.read(ENDS))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    return digest.hexdigest()


def _checksum(path: pathlib.Path) -> str:
    long = RECORDS in path.name and path.stat().st_size > LONG
    return hash_ends(path) if long else checksums.checksum(path)
