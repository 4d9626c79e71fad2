"""Pages that are kept elsewhere: the changelog, how to contribute, notebooks."""

from __future__ import annotations

import pathlib
import re

import jupytext

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOKS = "docs/notebooks"
FILES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
PAGES = {**FILES, "README.md": "index.md"}
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def pages() -> dict[str, str]:
    """{path in the site: Markdown}."""
    kept = {page: mended((ROOT / name).read_text()) for name, page in FILES.items()}
    notebooks = sorted((ROOT / NOTEBOOKS).glob("*.py"))
    return kept | {f"notebooks/{path.stem}.md": notebook(path.read_text()) for path in notebooks}


def mended(text: str) -> str:
    """The text of a file of the root, its links as the site has them; of a link to a file that is
    no page, the words alone stay."""

    def link(found: re.Match) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        page = PAGES.get(target) or target.removeprefix("docs/")
        if target in PAGES or target.startswith("docs/"):
            return f"[{words}]({page}{anchor})"
        return words

    return LINK.sub(link, text)


def notebook(text: str) -> str:
    """The Markdown of a notebook in jupytext's percent format."""
    cells = jupytext.reads(text, fmt="py:percent").cells
    return "\n\n".join(
        f"```python\n{cell.source}\n```" if cell.cell_type == "code" else cell.source
        for cell in cells
        if cell.source.strip()
    )
