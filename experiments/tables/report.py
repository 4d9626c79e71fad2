"""report.html: a data set's tables in one file, pictures inside, with commands and versions."""

from __future__ import annotations

import base64
import html
import pathlib
import re
from collections.abc import Mapping, Sequence

from dtn_jax.shared_files import write_whole

from .notes import footnotes
from .text import Text, texts, title_of

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em;
       color: #222; }
table { border-collapse: collapse; margin: 1em 0; font-size: 14px; }
th, td { padding: 3px 12px 3px 0; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-top: 2px solid #222; border-bottom: 1px solid #222; vertical-align: bottom;
           white-space: normal; }
tbody tr:last-child td { border-bottom: 2px solid #222; }
.wide { overflow-x: auto; }
code { background: #f3f3f3; padding: 0 3px; }
pre { background: #f3f3f3; padding: 8px; overflow-x: auto; }
.note { color: #555; font-size: 13px; margin: 0.2em 0; }
img { max-width: 100%; margin: 1em 0; }
"""


def write(path: pathlib.Path, tables: Sequence[Mapping], pictures: Mapping[str, list]) -> None:
    """Writes the report.

    Args:
      path: of the file.
      tables: the contents, one a table.
      pictures: {table: its PNG files}.
    """
    dataset = tables[0]["dataset"]
    contents = "".join(f'<li><a href="#{t["table"]}">{title_of(t)}</a></li>' for t in tables)
    sections = "".join(section(t, pictures.get(t["table"], [])) for t in tables)
    title = f"dtn_jax: tables of {html.escape(dataset)}"
    page = (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style>\n<h1>{title}</h1>\n<ul>{contents}</ul>\n{sections}</html>\n"
    )
    write_whole(path, page)


def section(found: Mapping, pictures: Sequence[pathlib.Path]) -> str:
    """A table with its pictures, notes and settings."""
    parts = [f'<h2 id="{found["table"]}">{title_of(found)}</h2>']
    for i, text in enumerate(texts(found)):
        parts.append((f"<h3>{html.escape(text.title)}</h3>" if i else "") + html_table(text))
    parts += [f'<img alt="{p.stem}" src="{embedded(p)}">' for p in pictures]
    parts += [f'<p class="note">{formatted(n)}</p>' for n in footnotes(found)]
    parts.append("<h3>Settings</h3>" + html_table(settings_text(found)))
    versions = ", ".join(f"{name} {' and '.join(v)}" for name, v in found["versions"].items())
    parts.append(f'<p class="note">{html.escape(versions)}</p>')
    return "\n".join(parts) + "\n"


def settings_text(found: Mapping) -> Text:
    """Each row's settings: those of the protocol, those it was tuned to, then its own."""
    rows = []
    for row in found["rows"]:
        tuned = found["tuning"].get(row["tuned_as"], {}).get("settings", {})
        given = {**row["common"], **tuned, **row["settings"]}
        rows.append((f"`{row['name']}`", " ".join(f"`{k}={v}`" for k, v in given.items())))
    return Text("Settings", ("", "of the protocol, tuned, and its own"), tuple(rows))


def html_table(text: Text) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{formatted(c)}</{tag}>" for c in cells) + "</tr>"

    body = "".join(row(cells, "td") for cells in text.rows)
    head = row(text.header, "th")
    return f'<div class="wide"><table><thead>{head}</thead>\n<tbody>{body}</tbody></table></div>'


def formatted(text: str) -> str:
    """`code` and **bold** as HTML."""
    escaped = html.escape(text)
    escaped = re.sub(r"`([^`]*)`", r"<code>\1</code>", escaped)
    return re.sub(r"\*\*([^*]*)\*\*", r"<b>\1</b>", escaped)


def embedded(path: pathlib.Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
