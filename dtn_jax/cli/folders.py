"""The folders that a command is given: checked before anything is done for them."""

from __future__ import annotations

import pathlib

from dtn_jax.errors import UserError, told
from dtn_jax.files import check_place

LONGEST = 255  # bytes of a name, on nearly every file system
SHOWN = 60  # letters of a name, in messages


def check(path: str, what: str) -> None:
    """Raises UserError where `path` can be no folder: a URL, a file or in one, a name too long."""
    check_place(path, what)
    full = pathlib.Path(path).expanduser().absolute()
    try:
        files = [place for place in (full, *full.parents) if place.exists() and not place.is_dir()]
    except OSError as error:
        raise UserError(f"{what} {told(error)}") from None
    if files:
        within = "" if full in files else f"cannot be a folder: {files[-1]} "
        raise UserError(f"{what} {full} {within}is a file, expected a folder")


def check_name(name: str, what: str) -> None:
    """Raises UserError where `name` is not that of one folder inside of another."""
    if name in (".", "..") or set(name) & set("/\\\0") or not name.isprintable():
        raise UserError(
            f"{what}={name!r}: expected the name of one folder, without '/' and control characters"
        )
    if len(name.encode(errors="replace")) > LONGEST:
        raise UserError(f"{what}={name[:SHOWN]!r}…: expected a name of at most {LONGEST} bytes")


def make(path: pathlib.Path, what: str) -> None:
    """Makes a folder; raises UserError where it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{what} {path} cannot be made: {error.strerror}") from error
