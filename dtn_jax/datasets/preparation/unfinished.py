"""What killed processes leave that were preparing a set is removed, once nobody prepares there."""

from __future__ import annotations

import contextlib
import fcntl
import pathlib
import shutil
from collections.abc import Iterator

from dtn_jax.shared_files import open_lock

LOCK = ".preparing"  # each process that prepares shares it, and nobody removes it
UNFINISHED = "incomplete.*"  # the folders in which TFDS prepares


@contextlib.contextmanager
def preparing(home: pathlib.Path) -> Iterator[None]:
    """Prepares a set in a folder; removes what is unfinished there if no other process prepares.

    On a file system without locks nothing is removed.
    """
    home.mkdir(parents=True, exist_ok=True)
    with open_lock(home / LOCK) as lock:
        with contextlib.suppress(OSError):  # of a process that holds it, or of the file system
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for left in home.glob(UNFINISHED):
                shutil.rmtree(left, ignore_errors=True)
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield
