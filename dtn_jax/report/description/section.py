"""A part of a description: a title, remarks, tables, and the pictures that go with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from dtn_jax.report.description.grid import Grid


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a description; `pictures` are names of pictures.PICTURES."""

    title: str
    texts: Sequence[str] = ()
    grids: Sequence[Grid] = ()
    pictures: Sequence[str] = ()
    page_grids: Sequence[Grid] = ()  # too wide or too long for a terminal
