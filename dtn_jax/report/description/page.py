"""A description as one page in HTML that needs no network."""

from __future__ import annotations

import html

from dtn_jax.data.describe.describe import Description
from dtn_jax.report.description.drawing import png
from dtn_jax.report.description.grid import Grid
from dtn_jax.report.description.overview import remarks
from dtn_jax.report.description.pictures import ALT, PICTURES
from dtn_jax.report.description.section import Section
from dtn_jax.report.description.sections import sections
from dtn_jax.report.html import embedded, page, table

STYLE = """
h1, h2 { overflow-wrap: anywhere; }
img { width: 640px; display: block; }
ul.remarks { border-left: 4px solid #D55E00; list-style: none; padding-left: 1em; }
p.note { max-width: 700px; }
td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; }
@media (max-width: 640px) { body { margin: 0.5em auto; } th, td { padding-right: 8px; } }
"""


def as_page(found: Description) -> str:
    """The whole page."""
    parts = []
    if made := remarks(found):
        items = "".join(
            f"<li><b>{html.escape(r.what)}</b>: {html.escape(r.reason)}</li>" for r in made
        )
        parts.append(f'<h2>What to look at first</h2>\n<ul class="remarks">{items}</ul>')
    parts += [_section(section, found) for section in sections(found)]
    parts.append(f'<p class="note">The set lies in {html.escape(found.folder)}</p>')
    return page(f"{found.schema.name}: description", "\n".join(parts) + "\n", STYLE)


def _section(section: Section, found: Description) -> str:
    parts = [f"<h2>{html.escape(section.title)}</h2>"]
    parts += [f"<p>{html.escape(text)}</p>" for text in section.texts]
    for name in section.pictures:
        if (figure := PICTURES[name](found)) is not None:
            parts.append(f'<img alt="{ALT[name]}" src="{embedded(png(figure))}">')
    for grid in (*section.grids, *section.page_grids):
        parts.append(_grid(grid))
    return "\n".join(parts)


def _grid(grid: Grid) -> str:
    title = f"<h3>{html.escape(grid.title)}</h3>\n" if grid.title else ""
    note = f'\n<p class="note">{html.escape(grid.note)}</p>' if grid.note else ""
    return title + table(grid.header, grid.rows, html.escape) + note
