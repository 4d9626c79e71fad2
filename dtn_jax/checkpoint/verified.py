"""What is read of a checkpoint is what was saved: the first process verifies for all."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import TypeVar

import jax

from dtn_jax import checksums
from dtn_jax.checkpoint.orbax import quiet
from dtn_jax.errors import UserError
from dtn_jax.parallel import processes

T = TypeVar("T")
SHOWN = 300  # characters of orbax's messages, which can fill pages


class Damaged(Exception):
    """A checkpoint is not as it was saved; the message says which file is wrong, and how."""


def told_damage(folder: pathlib.Path, unknown: str = "") -> str:
    """What is wrong with a folder, by its name; '' if nothing, `unknown` if it has no checksums.

    The first process looks, and tells the others.
    """

    def tell() -> str:
        if not checksums.are_there(folder):
            return unknown and f"{folder} {unknown}"
        problem = checksums.damage(folder)
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
    known = checksums.are_there(path)
    if not known:
        print(
            f"warning: {path} has no checksums (an earlier version saved it, or the run was "
            "interrupted while saving), so damage to its files would not show"
        )
    try:
        with quiet():
            return do()
    except UserError:
        raise
    except Exception as error:  # orbax raises many kinds, plain Exception among them
        problem = f"{path} cannot be read: {_short(error)}"
        if known or jax.process_count() > 1:
            raise UserError(f"checkpoint {problem}") from error
        raise Damaged(problem) from error


def _short(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text if len(text) <= SHOWN else text[:SHOWN] + " …"
