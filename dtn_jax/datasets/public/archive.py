"""Takes files out of a downloaded archive."""

from __future__ import annotations

import contextlib
import gzip
import pathlib
import shutil
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from io import BufferedIOBase

from dtn_jax.datasets.preparation.download import PIECE, Bounded, discard
from dtn_jax.errors import UserError
from dtn_jax.shared_files import TEMPORARY

# RuntimeError: of what is encrypted, or packed in an unknown way; and of links in a circle.
DAMAGED = (OSError, EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, RuntimeError)


def unpack(
    archive: pathlib.Path, names: Sequence[str], folder: pathlib.Path, url: str
) -> dict[str, pathlib.Path]:
    """The files of a zip or tar.gz archive, by name; it is unpacked once.

    Args:
      archive: as it was downloaded.
      names: the wanted files, by their path in the archive.
      folder: where they go.
      url: where the archive is from, for messages.

    Raises:
      UserError: the archive is damaged, or lacks a file; it is discarded.
    """
    files = {name: folder / name for name in names}
    if folder.exists():
        return files
    temporary = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        with _reader(archive) as member:
            for name in names:
                path = temporary / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with member(name) as packed, path.open("wb") as file:
                    shutil.copyfileobj(Bounded(packed), file)
    except KeyError:
        problem = f"lacks {name}"
    except DAMAGED as error:
        problem = f"cannot be unpacked ({error})"
    else:
        temporary.rename(folder)
        return files
    shutil.rmtree(temporary, ignore_errors=True)
    discard(archive)
    raise UserError(
        f"the archive from {url} {problem}; it was discarded, and the next run downloads it again"
    )


@contextlib.contextmanager
def _reader(archive: pathlib.Path) -> Iterator[Callable[[str], BufferedIOBase]]:
    """What opens a file of the archive; it raises KeyError where the archive lacks it."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as packed:
            yield packed.open
        return
    with gzip.open(archive) as whole:  # a tar has no checksum of its data; gzip's is at the end
        bounded = Bounded(whole)
        while bounded.read(PIECE):
            pass
    with tarfile.open(archive) as packed:

        def member(name: str) -> BufferedIOBase:
            found = packed.extractfile(name)
            if found is None:  # a folder
                raise KeyError(name)
            return found

        yield member
