"""Shows a prepared set: its account, or its description in the terminal and as a page in HTML."""

from __future__ import annotations

import pathlib

from dtn_jax.data import progress
from dtn_jax.data.describe import labels
from dtn_jax.data.describe.describe import describe
from dtn_jax.data.prepared import Prepared
from dtn_jax.files import write_whole
from dtn_jax.report import description, screen
from dtn_jax.report.sections import Section, page, terminal

WIDE = 80


def write(data: Prepared, html: str = "") -> None:
    """Prints a description of a set and writes its page.

    Args:
      data: the set.
      html: the page's file; '' is NAME_description.html beside the folder of the set.
    """
    name, facts = data.schema.name, describe(data)
    path = pathlib.Path(html or data.folder.parent / f"{name}_description.html")
    path = path.expanduser().absolute()
    place = Section("", [f"The set lies in {data.folder}"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(
        path, page(f"{name}: description", [*description.sections(facts, drawn=True), place])
    )
    for piece in terminal(description.sections(facts), WIDE):
        screen.show(piece)
    progress.say(f"\nAs a page: {path}")


def show(data: Prepared, account: bool) -> None:
    """Shows a prepared set's fields, splits, place and origin, and its account if asked."""
    print(f"\nFields of {data.schema.name}")
    screen.show(description.kept_fields(data).terminal(WIDE))
    print(f"\n{description.rows_line(data.rows)}")
    for task, (label, rows) in labels.constant(data).items():
        print(f"task {task!r}: all {rows:,} labels in train are {label}: there is nothing to learn")
    if cuts := description.cuts_line(data.notes):
        print(f"split by time: {cuts}")
    for name, text in data.notes.get("about", {}).items():
        print(f"{name}: {text}")
    for older in data.extends[:1]:
        print(f"extends {older['name']}, fingerprint {older['fingerprint'][:16]}")
    for line in data.notes.get("account", ()) if account else ():
        print(line)
    print(f"fingerprint {data.fingerprint[:16]}")
    print(f"In {data.folder}")
