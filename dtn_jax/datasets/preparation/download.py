"""Downloads raw files through TFDS, which keeps them beside the prepared sets."""

from __future__ import annotations

import pathlib

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader

from dtn_jax.datasets.preparation import progress
from dtn_jax.errors import UserError

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
    path.unlink()
    path.with_name(f"{path.name}.INFO").unlink(missing_ok=True)  # TFDS's note of what it holds
