"""A prepared set's files are those that were written: they have checksums, like checkpoints.

prepared.json says that they are there; sets of an earlier version have none, and open with a
warning. All files are verified whenever a set is opened. Of a long file of records that means its
ends, with the index of its records: array_record itself verifies each record that it reads.
"""

from __future__ import annotations

import functools
import hashlib
import json
import pathlib
import shlex
from collections.abc import Iterable

from dtn_jax import checksums
from dtn_jax.datasets.preparation import progress
from dtn_jax.errors import UserError

SEALED = "checksums"  # in prepared.json: whether the set was made with checksums
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
    if not checksums.are_there(folder):
        if _was_sealed(folder):
            raise UserError(
                f"{folder / checksums.NAME} is missing, so damage to the set's files would not "
                f"show; {remedy(folder)}"
            )
        _warn_once(folder)
    elif problem := checksums.damage(folder, checksums.names(folder), _checksum):
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


def _was_sealed(folder: pathlib.Path) -> bool:
    """Whether a set was made with checksums, as its prepared.json says; False where it is damaged,
    which is told when it is read."""
    try:
        return bool(json.loads((folder / "prepared.json").read_text()).get(SEALED))
    except checksums.UNREADABLE:
        return False


@functools.cache
def _warn_once(folder: pathlib.Path) -> None:
    progress.say(
        f"warning: {folder} has no checksums (an earlier version prepared it), so damage to its "
        f"files would not show. Prepared anew it has them: {prepare_anew(folder)}"
    )


def prepare_anew(folder: pathlib.Path) -> str:
    """The commands that prepare the set of a folder anew.

    It is DATA_DIR/NAME/VERSION, or of a log DATA_DIR/logs/NAME/VERSION.
    """
    home, remove = folder.parent.parent, f"rm -r {shlex.quote(str(folder))}"
    prepare = "python -m experiments.prepare"
    if home.name == "logs":
        given = "--schema=SCHEMA_FILE --input=YOUR_FILES"
        return f"{remove}, then {prepare} {given} --data_dir={shlex.quote(str(home.parent))}"
    given = f"--dataset={folder.parent.name} --data_dir={shlex.quote(str(home))}"
    return f"{remove}, then {prepare} {given}"
