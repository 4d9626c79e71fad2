"""Where a suite keeps the cells that it has done, so that an interrupted one resumes."""

from __future__ import annotations

import hashlib
import pathlib
import shutil
from collections.abc import Iterable, Sequence


def kept_folder(
    place: pathlib.Path, files: Iterable[pathlib.Path], words: Sequence[str] = ()
) -> pathlib.Path:
    """The folder below `place` for cells that these files and words decide.

    Cells that others decided, an older commit's say, are deleted.
    """
    content = [path.read_bytes() for path in files] + [word.encode() for word in words]
    folder = place / hashlib.sha256(b"\0".join(content)).hexdigest()[:16]
    for old in place.glob("*"):
        if old != folder:
            shutil.rmtree(old)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
