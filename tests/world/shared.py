"""What several workers look at is made by the first that asks for it."""

import fcntl
import os
import pathlib
import shutil
from collections.abc import Callable

import pytest


def made_once(
    factory: pytest.TempPathFactory, name: str, make: Callable[[pathlib.Path], object]
) -> pathlib.Path:
    """The folder `name` that `make(folder)` filled, once for all workers; no test changes it."""
    base = factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "world"
    root.mkdir(exist_ok=True)
    folder, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one that failed
            make(folder)
            done.touch()
    return folder
