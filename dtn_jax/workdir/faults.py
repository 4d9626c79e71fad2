"""Why a folder cannot be a run's."""

from __future__ import annotations

import pathlib
import re

from dtn_jax.errors import UserError


class Busy(UserError):
    """Another process works in the folder."""


class Unusable(UserError):
    """The folder is another run's, holds other things, is damaged, or cannot be written."""


def check_place(path: str | pathlib.Path) -> None:
    """Raises Unusable where a path cannot be a workdir's, whatever is on the disk."""
    if re.match(r"[A-Za-z][\w+.-]*:/", str(path)):
        raise Unusable(f"workdir {path} is a URL, expected a folder of this machine")
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise Unusable(
            f"workdir {str(path)!a} is no text in UTF-8, so not all files can be written there"
        ) from None
