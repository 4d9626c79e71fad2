"""What is read of a checkpoint is what was saved: the first process verifies for all."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import TypeVar

from dtn_jax import files
from dtn_jax.errors import UserError
from dtn_jax.files import HASHES, Damaged
from dtn_jax.parallel import processes
from dtn_jax.run.checkpoint.orbax import quiet

T = TypeVar("T")
SHOWN = 300  # characters of orbax's messages, which can fill pages


def damage(folder: pathlib.Path) -> str:
    """What is wrong with a saved state, by the name of its folder; '' where nothing is.

    The first process looks, and tells the others.
    """

    def look() -> str:
        if not is_saved(folder):
            return f"{folder} has no {HASHES}: its saving was cut short"
        problem = files.damage(folder)
        return problem and f"{folder} is damaged: {problem}"

    return processes.told_by_first(look)


def is_saved(folder: pathlib.Path) -> bool:
    """Whether a state was saved whole: its hashes are written last."""
    return (folder / HASHES).exists()


def read(path: pathlib.Path, do: Callable[[], T]) -> T:
    """What `do` reads of a checkpoint whose files are as they were saved.

    Raises:
      Damaged: the files have changed, or were not saved whole.
      UserError: they cannot be read although they have not changed.
    """
    if problem := damage(path):
        raise Damaged(problem)
    try:
        with quiet():
            return do()
    except UserError:
        raise
    except Exception as error:  # orbax raises many kinds, plain Exception among them
        text = str(error).strip() or type(error).__name__
        shown = text if len(text) <= SHOWN else text[:SHOWN] + " …"
        raise UserError(f"checkpoint {path} cannot be read: {shown}") from error
