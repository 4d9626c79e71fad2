"""Pages in HTML: one file each, with all that they need inside, so that they open anywhere, also on
a telephone."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Sequence

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em;
       color: #222; }
h1, h2 { overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 1em 0; font-size: 14px; }
th, td { padding: 3px 12px 3px 0; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-top: 2px solid #222; border-bottom: 1px solid #222; vertical-align: bottom;
           white-space: normal; }
tbody tr:last-child td { border-bottom: 2px solid #222; }
.wide { overflow-x: auto; }
code { background: #f3f3f3; padding: 0 3px; }
pre { background: #f3f3f3; padding: 8px; overflow-x: auto; }
.note { color: #555; font-size: 13px; margin: 0.2em 0; max-width: 700px; }
img { max-width: 100%; margin: 1em 0; display: block; }
@media (max-width: 640px) { body { margin: 0.5em auto; } th, td { padding-right: 8px; } }
"""


def page(title: str, body: str, style: str = "") -> str:
    """A whole page; the title is a text, the body HTML, `style` more CSS."""
    title = html.escape(title)
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}{style}</style>\n<h1>{title}</h1>\n{body}</html>\n"
    )


def formatted(text: str) -> str:
    """`code` and **bold** as HTML."""
    escaped = html.escape(text)
    escaped = re.sub(r"`([^`]*)`", r"<code>\1</code>", escaped)
    return re.sub(r"\*\*([^*]*)\*\*", r"<b>\1</b>", escaped)


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    cell: Callable[[str], str] = formatted,
) -> str:
    """A table, which scrolls where it is too wide; `cell` makes HTML of the text in a cell."""

    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{cell(c)}</{tag}>" for c in cells) + "</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    head = row(header, "th")
    return f'<div class="wide"><table><thead>{head}</thead>\n<tbody>{body}</tbody></table></div>'


def embedded(png: bytes) -> str:
    """The address of a PNG picture that lies in the page itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
