"""Pictures of the pages with few colours, which take a third of the bytes."""

from __future__ import annotations

import pathlib

from PIL import Image

COLOURS = 64


def shrink(path: pathlib.Path) -> None:
    """Stores a PNG again, with COLOURS colours."""
    Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)
