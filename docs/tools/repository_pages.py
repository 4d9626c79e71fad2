"""Pages that are kept elsewhere: the changelog, how to contribute, notebooks."""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
import textwrap

import jupytext

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOKS = "docs/notebooks"
KEPT = "docs/notebooks/outputs"  # what their cells printed: run_notebooks.py
PICTURES = "docs/pictures"
DRAWN = {  # {notebook: what its picture shows, its caption}
    "do_your_tasks_disagree": (
        "Bars for the fields of adult: shuffling relationship and age lowers the AUC of both "
        "tasks, shuffling capital-gain, capital-loss, occupation or hours-per-week that of income "
        "alone",
        "Drop of each task's AUC when a field is shuffled, with 95 % intervals.",
    ),
    "dtn_on_your_logs": (
        "AUC of DTN minus that of MMoE: five points right of 0; the intervals of cart@all and "
        "order@cart contain 0, those of click@all, cart@click and order@all do not",
        "DTN minus MMoE, with 95 % intervals over users and seeds; right of 0, DTN is better.",
    ),
}
LONG, LAST = 60, 10  # lines: of a longer output the last ones are seen, the others on a click
FILES = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
PAGES = {**FILES, "README.md": "index.md"}
OF_ROOT = re.compile(rf"\]\(\.\./((?:\.\./)*)({'|'.join(map(re.escape, FILES))})")
OF_RESULTS = re.compile(r"\[([^\]]+)\]\((?:\.\./)+experiments/[^)\s]+\)")
NOTEBOOK = re.compile(r"(\]\((?:\.\./)*notebooks/\w+)\.py\b")
LINK = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)")


def pages() -> dict[str, str]:
    """{path in the site: Markdown}."""
    kept = {page: mended((ROOT / name).read_text()) for name, page in FILES.items()}
    names = [path.stem for path in sorted((ROOT / NOTEBOOKS).glob("*.py"))]
    return kept | {f"notebooks/{name}.md": notebook(name) for name in names}


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


def linked(text: str) -> str:
    """The text of a page of docs/: links to files that the site has as pages lead to these; of
    those to results of experiments/, the words alone stay."""
    text = OF_RESULTS.sub(r"\1", text)
    text = OF_ROOT.sub(lambda found: f"]({found[1]}{FILES[found[2]]}", text)
    return NOTEBOOK.sub(r"\1.md", text)


def cells(text: str) -> list:
    """Those of a notebook in jupytext's percent format, without the empty ones."""
    found = jupytext.reads(text, fmt="py:percent").cells
    return [cell for cell in found if cell.source.strip()]


def fingerprint(text: str) -> str:
    """Of a notebook's code: its outputs are kept for this code alone."""
    code = [cell.source for cell in cells(text) if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()


def notebook(name: str) -> str:
    """The Markdown of a notebook, with what its cells printed and drew."""
    text = (ROOT / NOTEBOOKS / f"{name}.py").read_text()
    kept = json.loads((ROOT / KEPT / f"{name}.json").read_text())
    return shown(cells(text), kept["outputs"], name)


def shown(cells: list, outputs: list[dict], name: str) -> str:
    """Cells as Markdown, behind each of code what it printed and drew."""
    parts, outputs = [], iter(outputs)
    for cell in cells:
        if cell.cell_type != "code":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        output = next(outputs)
        if output["printed"]:
            parts.append(folded(output["printed"]))
        if output["drawn"]:
            words, caption = DRAWN[name]
            parts.append(f"![{words}](../pictures/{name}.png)\n\n*{caption}*")
    return "\n\n".join(parts)


def folded(lines: list[str]) -> str:
    """Printed lines as a block of text; those before the last are folded if there are many."""
    if len(lines) <= LONG:
        return fenced(lines)
    inner = textwrap.indent(fenced(lines[:-LAST]), "    ")
    return f'??? quote "The first {len(lines) - LAST} lines"\n\n{inner}\n\n{fenced(lines[-LAST:])}'


def fenced(lines: list[str]) -> str:
    return "\n".join(["``` {.text .printed}", *lines, "```"])
