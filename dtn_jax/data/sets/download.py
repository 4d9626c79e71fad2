"""Downloads archives through TFDS, which keeps them beside the prepared sets, and unpacks them."""

from __future__ import annotations

import gzip
import pathlib
import shutil
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Sequence

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader

from dtn_jax.data import progress
from dtn_jax.errors import UserError
from dtn_jax.files import TEMPORARY

RETRIES = 4  # three seconds in all; TFDS's ten take minutes to say that there is no connection
PIECE = 1 << 20  # bytes that are read at a time
INNER = ".tar.gz"  # a zip may hold one, and that the files
# RuntimeError: of what is encrypted, or packed in an unknown way; and of links in a circle.
DAMAGED = (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, RuntimeError)


def download(url: str, folder: pathlib.Path, name: str, instead: str) -> pathlib.Path:
    """Fetches a file, once.

    Args:
      url: where the file lies.
      folder: where it goes.
      name: of the data set.
      instead: what the user can do without the download, for the message.

    Raises:
      UserError: the download fails.
    """
    progress.say(f"Downloading {url}")
    tfds.disable_progress_bar()
    manager = tfds.download.DownloadManager(download_dir=folder, dataset_name=name)
    before, downloader.MAX_RETRIES = downloader.MAX_RETRIES, RETRIES
    try:
        return pathlib.Path(manager.download(url))
    except (tfds.download.DownloadError, OSError) as error:
        raise UserError(f"{url} cannot be downloaded ({error}). {instead}") from None
    finally:
        downloader.MAX_RETRIES = before


def unpack(archive: pathlib.Path, names: Sequence[str], url: str) -> dict[str, pathlib.Path]:
    """The files of a zip or tar.gz, or of a tar.gz in a zip, by name; it is unpacked once.

    Args:
      archive: as it was downloaded.
      names: the wanted files, by their path in the archive.
      url: where the archive is from, for messages.

    Raises:
      UserError: the archive is damaged, or lacks a file; it is discarded.
    """
    folder = archive.with_suffix(".unpacked")
    files = {name: folder / name for name in names}
    if folder.exists():
        return files
    temporary = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        _extract(archive, temporary)
    except DAMAGED as error:
        problem = f"cannot be unpacked ({error})"
    else:
        lacking = [name for name in names if not (temporary / name).is_file()]
        if not lacking:
            temporary.rename(folder)
            return files
        problem = f"lacks {' and '.join(lacking)}"
    shutil.rmtree(temporary, ignore_errors=True)
    archive.unlink()
    archive.with_name(f"{archive.name}.INFO").unlink(missing_ok=True)  # TFDS's note of what it is
    raise UserError(
        f"the archive from {url} {problem}; it was discarded, and the next run downloads it again"
    )


def _extract(archive: pathlib.Path, folder: pathlib.Path) -> None:
    """Unpacks an archive, and one that is in it."""
    if zipfile.is_zipfile(archive):
        shutil.unpack_archive(archive, folder, "zip")
    else:
        with gzip.open(archive) as whole:  # a tar has no checksum; gzip's is at the end
            while whole.read(PIECE):
                pass
        shutil.unpack_archive(archive, folder, "gztar", filter="data")
    for inner in list(folder.glob(f"*{INNER}")):
        moved = inner.rename(folder / "inner")
        _extract(moved, folder)
        moved.unlink()
