"""Where raw files lie: local paths, and addresses of any file system that fsspec knows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from dtn_jax.errors import UserError


def is_remote(address: str) -> bool:
    """Whether fsspec is needed for it."""
    return "://" in address and not address.startswith("file://")


def local_path(address: str) -> str:
    """The path of a local address."""
    return os.path.normpath(os.path.expanduser(address.removeprefix("file://")))


def filesystem(address: str):
    """The fsspec file system of an address, and the path in it."""
    if "::" in address:
        raise UserError(
            f"{address} is a chain of addresses; expected one, such as s3://bucket/logs"
        )
    wanted = "pip install -e '.[remote]', and the package of the file system (s3fs, gcsfs, …)"
    try:
        import fsspec
    except ImportError:
        raise UserError(f"{address} is not local and needs fsspec: {wanted}") from None
    with told(address):
        try:
            return fsspec.core.url_to_fs(address)
        except ImportError as error:
            raise UserError(f"{address}: {error}: {wanted}") from None


@contextlib.contextmanager
def told(address: str) -> Iterator[None]:
    """Errors of a file system, each of which has its own classes, as a UserError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        text = f"{address} cannot be read: {type(error).__name__}: {error}"
        raise UserError(text) from error
