"""What orbax needs to work in any folder, and to fail with one message."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import glob
import logging
import pathlib
from collections.abc import Iterator

from etils import epath

from dtn_jax.errors import disk_errors


@epath.register_path_cls
class Plain(type(epath.Path())):
    """A path of which no character is a pattern: orbax finds files by globs below its folders, and
    of `runs/lr[1e-3]` it would find none, and lose what it saves."""

    def glob(self, pattern: str) -> Iterator[Plain]:
        return (self / name for name in glob.glob(pattern, root_dir=self))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the tracebacks that orbax's threads show of what it raises as well.

    After an error some threads go on for a moment: what they tell a closed event loop is dropped.
    """
    logger, tell = logging.getLogger("absl"), asyncio.BaseEventLoop.call_soon_threadsafe

    @functools.wraps(tell)
    def tell_if_open(loop: asyncio.BaseEventLoop, *args, **kwargs):
        try:
            return tell(loop, *args, **kwargs)
        except RuntimeError:
            if not loop.is_closed():
                raise

    before = logger.level
    logger.setLevel(logging.CRITICAL)
    asyncio.BaseEventLoop.call_soon_threadsafe = tell_if_open
    try:
        yield
        asyncio.BaseEventLoop.call_soon_threadsafe = tell
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def saving(folder: pathlib.Path) -> Iterator[None]:
    """Raises OSError where the disk fails orbax."""
    with quiet(), disk_errors(folder):
        yield
