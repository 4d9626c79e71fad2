"""report.html: a data set's tables in one file, pictures inside, with commands and versions."""

from __future__ import annotations

import html
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from dtn_jax.errors import UserError
from dtn_jax.papertables import kept
from dtn_jax.papertables.content import FORMAT
from dtn_jax.papertables.notes import footnotes
from dtn_jax.papertables.printed import Text
from dtn_jax.papertables.text import other_texts, texts, title_of
from dtn_jax.report import screen
from dtn_jax.report.html import embedded, formatted, page, table
from dtn_jax.shared_files import write_whole


def write(path: pathlib.Path, tables: Sequence[Mapping], pictures: Mapping[str, list]) -> None:
    """Writes the report.

    Args:
      path: of the file.
      tables: the contents, one a table.
      pictures: {table: its PNG files}.
    """
    dataset = tables[0]["dataset"]
    contents = "".join(
        f'<li><a href="#{t["table"]}">{html.escape(title_of(t))}</a></li>' for t in tables
    )
    sections = "".join(section(t, pictures.get(t["table"], [])) for t in tables)
    title = f"dtn_jax: tables of {dataset}"
    write_whole(path, page(title, f"<ul>{contents}</ul>\n{sections}"))


def made(folder: pathlib.Path, tables: Iterable[str]) -> list[dict]:
    """The contents of the tables that exist; older or damaged ones are left out, with a message."""
    contents = []
    for name in tables:
        try:
            found = kept.read_json(folder / f"{name}.json")
        except UserError as error:
            screen.say(f"{error}: not in the report until --table={name} makes it again")
        else:
            contents += [found] if isinstance(found, dict) and found.get("format") == FORMAT else []
    return contents


def section(found: Mapping, pictures: Sequence[pathlib.Path]) -> str:
    """A table with its pictures, notes and settings."""
    parts = [f'<h2 id="{found["table"]}">{html.escape(title_of(found))}</h2>']
    for i, text in enumerate(texts(found)):
        title = f"<h3>{html.escape(text.title)}</h3>" if i else ""
        parts.append(title + printed(text))
    if others := other_texts(found):
        names = html.escape(", ".join(text.title for text in others))
        parts.append(f"<details><summary>Other metrics: {names}</summary>")
        parts += [f"<h3>{html.escape(text.title)}</h3>{printed(text)}" for text in others]
        parts.append("</details>")
    parts += [
        f'<img alt="{html.escape(p.stem)}" src="{embedded(p.read_bytes())}">' for p in pictures
    ]
    parts += [f'<p class="note">{formatted(n)}</p>' for n in footnotes(found)]
    settings = settings_text(found)
    parts.append("<h3>Settings</h3>" + table(settings.header, settings.rows))
    versions = ", ".join(f"{name} {' and '.join(v)}" for name, v in found["versions"].items())
    parts.append(f'<p class="note">{html.escape(versions)}</p>')
    return "\n".join(parts) + "\n"


def printed(text: Text) -> str:
    """A table with its own note."""
    note = f'<p class="note">{formatted(text.note)}</p>' if text.note else ""
    return table(text.header, text.rows) + note


def settings_text(found: Mapping) -> Text:
    """Each row's settings: those of the protocol, those it was tuned to, then its own."""
    rows = []
    for row in found["rows"]:
        tuned = found["tuning"].get(row["tuned_as"], {}).get("settings", {})
        given = {**row["common"], **tuned, **row["settings"]}
        rows.append((f"`{row['name']}`", " ".join(f"`{k}={v}`" for k, v in given.items())))
    return Text("Settings", ("", "of the protocol, tuned, and its own"), tuple(rows))
