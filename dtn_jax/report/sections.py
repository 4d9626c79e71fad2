"""Sections of text, tables and pictures, as every form shows them: terminal, Markdown, HTML."""

from __future__ import annotations

import base64
import dataclasses
import functools
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence

import jinja2
import markupsafe
import rich.console
import rich.text

from dtn_jax.report.grid import Grid
from dtn_jax.report.markdown import prose

PAGE = pathlib.Path(__file__).with_name("page.html")


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
      title: '' continues the section before.
      texts: paragraphs; in Markdown `code` and **bold** are marks.
      grids: tables.
      pictures: {what it shows: in HTML a PNG's content, in Markdown the address of its file}.
    """

    title: str
    texts: Sequence[str] = ()
    grids: Sequence[Grid] = ()
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
        for grid in section.grids:
            parts += [f"{prose(grid.title)}:"] if grid.title else []
            parts.append(grid.markdown().rstrip())
            parts += [prose(line) for line in grid.note.split("\n") if line]
        parts += [f"![{alt}]({source})" for alt, source in section.pictures.items()]
    return "\n\n".join(parts) + "\n"


def page(title: str, sections: Sequence[Section]) -> str:
    """A whole page in HTML; a PNG's content lies in its address."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"marked": marked, "base64": lambda png: base64.b64encode(png).decode()}
    return environment.from_string(PAGE.read_text()).render(title=title, sections=sections)


def marked(text: str) -> markupsafe.Markup:
    """`code` and **bold** as HTML."""
    text = re.sub(r"`([^`]*)`", r"<code>\1</code>", str(markupsafe.escape(text)))
    return markupsafe.Markup(re.sub(r"\*\*([^*]*)\*\*", r"<b>\1</b>", text))


@functools.cache
def compiled(template: pathlib.Path) -> jinja2.Template:
    """A template of text, which takes longer to compile than to render."""
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(template.read_text())


def rendered(template: pathlib.Path, **facts: object) -> list[str]:
    """The paragraphs of a template, each a line; "----" is an empty one."""
    text = compiled(template).render(facts)
    lines = (" ".join(filter(None, part.split("\n"))) for part in text.split("\n\n"))
    return ["" if line == "----" else line for line in lines if line]
