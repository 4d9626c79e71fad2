"""A printed table, before it is Markdown, LaTeX, HTML or a terminal's."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Text:
    """A printed table: the first column names the rows; **bold** cells are marked so."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = "Mean ± standard deviation over seeds."  # where it is printed alone
    outside: int = 0  # how many of the last rows are no runs of ours
