"""Downloads archives through TFDS, which keeps them beside the prepared sets, and unpacks them."""

from __future__ import annotations

import pathlib
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Sequence

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader

from dtn_jax.data import progress
from dtn_jax.errors import UserError

RETRIES = 4  # three seconds in all; TFDS's ten take minutes to say that there is no connection
TAR = {"format": "gztar", "filter": "data"}
DAMAGED = (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError)


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
    """The files of a zip or tar.gz, or of a tar.gz in a zip, by name.

    Args:
      archive: as it was downloaded.
      names: the wanted files, by their path in the archive.
      url: where the archive is from, for messages.

    Raises:
      UserError: the archive is damaged, or lacks a file; it is discarded.
    """
    folder, partial = archive.with_suffix(".unpacked"), archive.with_suffix(".partial")
    files = {name: folder / name for name in names}
    if folder.exists():
        return files
    try:
        kind = {"format": "zip"} if zipfile.is_zipfile(archive) else TAR
        shutil.unpack_archive(archive, partial, **kind)
        for inner in partial.glob("*.tar.gz"):
            shutil.unpack_archive(inner, partial, **TAR)
        lacking = [name for name in names if not (partial / name).is_file()]
        if not lacking:
            partial.rename(folder)
            return files
        problem = f"lacks {' and '.join(lacking)}"
    except DAMAGED as error:
        problem = f"cannot be unpacked ({error})"
    shutil.rmtree(partial, ignore_errors=True)
    for path in (archive, archive.with_name(f"{archive.name}.INFO")):  # TFDS's note of what it is
        path.unlink(missing_ok=True)
    raise UserError(
        f"the archive from {url} {problem}; it was discarded, and the next run downloads it again"
    )
