"""Sections of text, tables and pictures, as every form shows them: terminal, Markdown, HTML.

A page in HTML is one file with all that it needs inside, so that it opens anywhere, also on a
telephone.
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterator, Mapping, Sequence

import rich.console
import rich.text

from dtn_jax.report import html as pages
from dtn_jax.report.grid import Grid
from dtn_jax.report.markdown import prose


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
      title: '' continues the section before.
      texts: paragraphs; in Markdown `code` and **bold** are marks.
      grids: tables.
      more: tables that are too wide or too long for a terminal.
      pictures: {what it shows: a PNG's content, or the address of its file}.
    """

    title: str
    texts: Sequence[str] = ()
    grids: Sequence[Grid] = ()
    more: Sequence[Grid] = ()
    pictures: Mapping[str, bytes | str] = dataclasses.field(default_factory=dict)


def terminal(
    sections: Sequence[Section], width: int, texts: bool = True
) -> Iterator[rich.console.RenderableType]:
    """What to print, piece by piece; without `texts` the tables alone."""
    for section in sections:
        if texts:
            yield rich.text.Text(f"\n{section.title}", "bold")
            yield from map(rich.text.Text, section.texts)
        for grid in section.grids:
            shown = grid.terminal(width)
            yield from ("", shown) if texts else (shown, "")


def markdown(sections: Sequence[Section], level: int = 2) -> str:
    """All of it; titles are headings of a level."""
    parts = []
    for section in sections:
        parts += [f"{'#' * level} {prose(section.title)}"] if section.title else []
        parts += [prose(text) for text in section.texts]
        for grid in (*section.grids, *section.more):
            parts += [f"{prose(grid.title)}:"] if grid.title else []
            parts.append(grid.markdown().rstrip())
            parts += [prose(line) for line in grid.note.split("\n") if line]
        parts += [f"![{alt}]({source})" for alt, source in section.pictures.items()]
    return "\n\n".join(parts) + "\n"


def page(title: str, sections: Sequence[Section]) -> str:
    """A whole page in HTML."""
    return pages.page(title, "".join(map(_in_html, sections)))


def _in_html(section: Section) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>"] if section.title else []
    parts += [f"<p>{html.escape(one)}</p>" for one in section.texts]
    for alt, source in section.pictures.items():
        address = pages.embedded(source) if isinstance(source, bytes) else html.escape(source)
        parts.append(f'<img alt="{html.escape(alt)}" src="{address}">')
    for grid in (*section.grids, *section.more):
        parts += [f"<h3>{html.escape(grid.title)}</h3>"] if grid.title else []
        parts.append(grid.html())
        parts += [f'<p class="note">{html.escape(grid.note)}</p>'] if grid.note else []
    return "\n".join(parts) + "\n"
