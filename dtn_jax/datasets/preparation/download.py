"""Downloads raw files through TFDS, which keeps them beside the prepared sets."""

from __future__ import annotations

import contextlib
import io
import pathlib
import shutil
from collections.abc import Iterator
from typing import IO

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader

from dtn_jax.datasets.preparation import progress
from dtn_jax.errors import UserError

MOST = 4 << 30  # bytes that a downloaded archive may unpack to
PIECE = 1 << 20  # bytes that are unpacked at a time
RETRIES = 4  # three seconds in all; TFDS's ten take minutes to say that there is no connection


def download(dl_manager, url: str, instead: str) -> pathlib.Path:
    """Fetches a file, once.

    Args:
      dl_manager: TFDS's, as `_split_generators` gets it.
      url: where the file lies.
      instead: what the user can do without the download, for the message.

    Raises:
      UserError: the download fails.
    """
    progress.say(f"Downloading {url}")
    before, downloader.MAX_RETRIES = downloader.MAX_RETRIES, RETRIES
    try:
        return pathlib.Path(dl_manager.download(url))
    except (tfds.download.DownloadError, OSError) as error:
        raise UserError(f"{url} cannot be downloaded ({error}). {instead}") from None
    finally:
        downloader.MAX_RETRIES = before


def discard(path: pathlib.Path) -> None:
    """Removes a damaged download, which TFDS would otherwise take from its cache for ever."""
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}.INFO").unlink(missing_ok=True)  # TFDS's note of what it holds
    shutil.rmtree(unpacked(path), ignore_errors=True)


def unpacked(archive: pathlib.Path) -> pathlib.Path:
    """Where the files of a download go."""
    return archive.with_suffix(".unpacked")


@contextlib.contextmanager
def discarded_if_wrong(archive: pathlib.Path, url: str) -> Iterator[None]:
    """Discards a download whose files are refused, and says so."""
    try:
        yield
    except UserError as error:
        discard(archive)
        raise UserError(
            f"{error}. It came from {url}: that archive was discarded, and the next run downloads "
            "it again"
        ) from None


class Bounded(io.RawIOBase):
    """A stream that may be read up to MOST bytes: an archive that unpacks to more is none of ours.

    Raises:
      OSError: more than that is read.
    """

    def __init__(self, source: IO[bytes]):
        self.source, self.left = source, MOST

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        piece = self.source.read(min(len(buffer), PIECE))
        self.left -= len(piece)
        if self.left < 0:
            raise OSError(f"it holds more than {MOST:,} bytes")
        buffer[: len(piece)] = piece
        return len(piece)
