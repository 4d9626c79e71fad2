"""A description for the terminal: what stands in its tables within 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

import rich.console
import rich.text

from dtn_jax.data.describe.describe import Description
from dtn_jax.report.description.grid import as_table
from dtn_jax.report.description.overview import remarks
from dtn_jax.report.description.sections import sections


def as_text(found: Description) -> Iterator[rich.console.RenderableType]:
    """What to print, piece by piece."""
    for section in sections(found):
        yield rich.text.Text(f"\n{section.title}", "bold")
        for text in section.texts:
            yield rich.text.Text(text)
        for grid in section.grids:
            yield ""
            yield as_table(grid)
            if len(grid.rows) > grid.shown:
                yield rich.text.Text(f"… and {len(grid.rows) - grid.shown:,} more in the page")
            if grid.note:
                yield rich.text.Text(grid.note, "dim")
        for grid in section.page_grids:
            name = f"{grid.title}: " if grid.title else ""
            yield rich.text.Text(f"{name}{len(grid.rows):,} lines, in the page")
    if made := remarks(found):
        yield rich.text.Text("\nWhat to look at first", "bold")
        for remark in made:
            yield rich.text.Text.assemble("- ", (remark.what, "bold"), f": {remark.reason}")
