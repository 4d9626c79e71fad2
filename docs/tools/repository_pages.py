"""Pages that are kept elsewhere: README, changelog, how to contribute, results, notebooks."""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import posixpath
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
FILES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
RESULTS, TABLES = "experiments/results", "tables"  # every Markdown file of results is a page here
# Where the repository is, as in `REPOSITORY=https://host/owner/name make docs`: links to its files
# lead there; without, their words alone stay.
REPOSITORY = os.environ.get("REPOSITORY", "").rstrip("/")
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])+)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
CODE = re.compile(r"^( *)(```+).*?^\1\2$", re.M | re.S)
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"


def pages() -> dict[str, str]:
    """{path in the site: Markdown}."""
    kept = {page: linked((ROOT / name).read_text(), name, page) for name, page in FILES.items()}
    for path in sorted((ROOT / RESULTS).rglob("*.md")):
        name = path.relative_to(ROOT).as_posix()
        page = place(name)
        kept[page] = UNSEARCHED + linked(path.read_text(), name, page)
    names = [path.stem for path in sorted((ROOT / NOTEBOOKS).glob("*.py"))]
    return kept | {f"notebooks/{name}.md": notebook(name) for name in names}


def place(name: str) -> str:
    """Where the site has a file of the repository; '' for nowhere."""
    if name in FILES:
        return FILES[name]
    if name.startswith(f"{RESULTS}/") and name.endswith(".md"):
        return TABLES + name.removeprefix(RESULTS)
    if name.startswith(f"{NOTEBOOKS}/") and name.endswith(".py"):
        return name.removeprefix("docs/").removesuffix(".py") + ".md"
    return name.removeprefix("docs/") if name.startswith("docs/") else ""


def linked(text: str, name: str, page: str) -> str:
    """A page's Markdown with its links as the site has them.

    Args:
      text: of the file.
      name: the file, from the repository's root.
      page: its path in the site.
    """

    def link(found: re.Match) -> str:
        words, anchor = found[1], found[3] or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), found[2]))
        if there := place(target):
            return f"[{words}]({posixpath.relpath(there, posixpath.dirname(page) or '.')}{anchor})"
        return f"[{words}]({REPOSITORY}/blob/HEAD/{target}{anchor})" if REPOSITORY else words

    parts, end = [], 0
    for code in CODE.finditer(text):
        parts += [LINK.sub(link, text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, LINK.sub(link, text[end:])])


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
