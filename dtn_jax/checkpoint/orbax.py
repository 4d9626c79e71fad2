"""What orbax needs to work in any folder, and to fail with one message."""

from __future__ import annotations

import contextlib
import glob
import logging
import pathlib
import sys
from collections.abc import Iterator

from etils import epath

from dtn_jax.shared_files import disk_errors

CLOSED = "Event loop is closed"  # says TensorStore of each write that comes after a failed one


@epath.register_path_cls
class Plain(type(epath.Path())):
    """A path of which no character is a pattern: orbax finds files by globs below its folders, and
    of `runs/lr[1e-3]` it would find none, and lose what it saves."""

    def glob(self, pattern: str) -> Iterator[Plain]:
        return (self / name for name in glob.glob(pattern, root_dir=self))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the tracebacks that orbax's threads show of what it raises as well."""
    logger, shown = logging.getLogger("absl"), sys.excepthook

    def hook(kind: type, error: BaseException, trace) -> None:
        if CLOSED not in str(error):
            shown(kind, error, trace)

    before, sys.excepthook = logger.level, hook
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
        sys.excepthook = shown


@contextlib.contextmanager
def saving(folder: pathlib.Path) -> Iterator[None]:
    """Raises OSError where the disk fails orbax."""
    with quiet(), disk_errors(folder):
        yield
