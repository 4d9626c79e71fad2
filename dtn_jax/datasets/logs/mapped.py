"""Arrays in .npy files: new ones written through the page cache, and ones that are whole."""

from __future__ import annotations

import os
import pathlib

import numpy as np

from dtn_jax.shared_files import replacing


def new(path: pathlib.Path, dtype: type | np.dtype, rows: int) -> np.memmap:
    """An array `[rows]` in a new .npy file, for which the disk has set all bytes aside.

    Otherwise a write to it would end the process with a bus error once the disk is full.

    Raises:
      OSError: the disk is full.
    """
    made = np.lib.format.open_memmap(path, "w+", dtype=dtype, shape=(rows,))
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return made


def save(path: pathlib.Path, array: np.ndarray) -> None:
    """Writes a .npy file that is whole once it is there."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())
