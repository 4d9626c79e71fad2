"""Shows a prepared set: its account, or its description in the terminal and as a page in HTML.

A description is sections of text, tables and a picture, in order.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping

import polars as pl
from matplotlib.figure import Figure

from dtn_jax.data import equal_rows, progress, times
from dtn_jax.data.describe import labels, leaks
from dtn_jax.data.describe.describe import Description, describe
from dtn_jax.data.describe.fields import SOME, STRONG, reading
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.progress import percent
from dtn_jax.files import write_whole
from dtn_jax.places import full_path
from dtn_jax.report import screen
from dtn_jax.report.grid import Grid
from dtn_jax.report.pictures import png
from dtn_jax.report.plots import over_days
from dtn_jax.report.sections import Section, page, rendered, terminal
from dtn_jax.schema import Field

WIDE = 80
MANY = 60  # lines of a table that a terminal shows
NOT_KNOWN = "–"
HASHED = (
    f"{NOT_KNOWN}: hashed values have rows whether train has seen them or not, so that this is not "
    "known; in train the missing ones are shown."
)
FIRST = "What to look at first"
TABLES = {  # {table of a description: the section that shows it}
    "rates": "Labels",
    "spreads": "Regression labels",
    "missing": "Missing labels",
    "days": "Days",
    "pairs": "Pairs of labels",
    "alone": "Suspects of leaks",
    "drift": "Drift",
    "new_ids": "New ids",
    "repeats": "Repeated rows",
}
SHARES = re.compile("rate|from|to|by weight|share.*|given|repeated|inputs|equal")  # columns
LONG = 9  # letters of a header, from which on its last word is on a line of its own


def write(data: Prepared, html: str = "") -> None:
    """Prints a description of a set and writes its page.

    Args:
      data: the set.
      html: the page's file; '' is NAME_description.html beside the folder of the set.
    """
    name, facts = data.schema.name, describe(data)
    path = full_path(html or data.folder.parent / f"{name}_description.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    place = Section("", [f"The set lies in {data.folder}"])
    write_whole(path, page(f"{name}: description", [*sections(facts, drawn=True), place]))
    for piece in terminal(sections(facts), WIDE):
        screen.show(piece)
    progress.say(f"\nAs a page: {path}")


def show(data: Prepared, account: bool) -> None:
    """Shows a prepared set's fields, splits, place and origin, and its account if asked."""
    print(f"\nFields of {data.schema.name}")
    screen.show(kept_fields(data).terminal(WIDE))
    print(f"\n{rows_line(data.rows)}")
    for task, (label, rows) in labels.constant(data).items():
        print(f"task {task!r}: all {rows:,} labels in train are {label}: there is nothing to learn")
    if cuts := cuts_line(data.notes):
        print(f"split by time: {cuts}")
    for name, text in data.notes.get("about", {}).items():
        print(f"{name}: {text}")
    for older in data.extends[:1]:
        print(f"extends {older['name']}, fingerprint {older['fingerprint'][:16]}")
    for line in data.notes.get("account", ()) if account else ():
        print(line)
    print(f"fingerprint {data.fingerprint[:16]}")
    print(f"In {data.folder}")


def sections(description: Description, drawn: bool = False) -> list[Section]:
    """All that has content, in order, `drawn` with its picture.

    In a page what to look at first is first; in a terminal, whose end is seen, last.
    """
    order, prose = pl.col("psi").max().over("name"), texts(description)
    tables = {name: getattr(description, name) for name in TABLES}
    suspects = [figure for figure in description.alone if figure.suspect]
    tables["alone"] = pl.DataFrame(suspects).drop("only", strict=False)
    tables["drift"] = description.drift.sort(order, descending=True, maintain_order=True)
    every = [Section("Rows", prose["Rows"])]
    for name, title in TABLES.items():
        if len(tables[name]):
            pictures = {title: png(days(description))} if drawn and name == "days" else {}
            shown = grid(tables[name], len(tables[name]) if drawn else MANY)
            every.append(Section(title, prose[title], [shown], pictures))
        elif name == "alone" and description.alone:
            every.append(Section(title, [*prose[title], "No suspects."]))
    every.append(Section("Fields", prose["Fields"], [kept_fields(description.data)]))
    first = [Section(FIRST, prose[FIRST])] if FIRST in prose else []
    return [*first, *every] if drawn else [*every, *first]


def texts(description: Description) -> dict[str, list[str]]:
    """{section: its paragraphs}, what a reader should look at first among them: leaks, strong
    drift, rows that train has too."""
    data, strong = description.data, description.drift.filter(pl.col("psi") > STRONG)
    equal = dict(description.repeats["split", "equal"].rows()[1:])
    lines = rendered(
        pathlib.Path(__file__).with_name("description.md.jinja"),
        data=data,
        notes=data.notes,
        looked_at=description.looked_at,
        rows=rows_line(data.rows),
        cuts=cuts_line(data.notes),
        suspects=[figure for figure in description.alone if figure.suspect],
        strong=strong["name"].unique(maintain_order=True).to_list(),
        # Where the split is by time, copies stay together.
        copies="" if data.notes["cuts"] else equal_rows.line(equal, description.looked_at),
        SUSPECT=leaks.SUSPECT,
        SOME=SOME,
        STRONG=STRONG,
    )
    sections: dict[str, list[str]] = {}
    for section, _, paragraph in (line.partition(" | ") for line in lines):
        sections.setdefault(section, []).append(paragraph)
    return sections


def grid(table: pl.DataFrame, most: int) -> Grid:
    """A table as it is shown, `most` lines of it.

    Of three columns the second is spread: a line for each value of the first, a column for each of
    the second. Of others, empty columns are left out.
    """
    rows = [[text(*cell) for cell in zip(table.columns, row)] for row in table.rows()]
    shown = pl.DataFrame(rows, table.columns, orient="row")
    left = [dtype == pl.String for dtype in table.dtypes].index(False)
    if table.width == 3:
        down, across, value = table.columns
        shown, left = shown.pivot(across, index=down, values=value).fill_null(""), 1
    lines, names = [list(row) for row in shown.rows()], shown.columns
    full = [n for n, column in enumerate(shown) if n < left or (column != "").any()]
    if names[1] == "split":  # the first is written once
        firsts = ["", *(line[0] for line in lines)]
        lines = [[line[0] * (line[0] != first), *line[1:]] for line, first in zip(lines, firsts)]
    header = [n if len(n) < LONG else "\n".join(n.rsplit(" ", 1)) for n in names]
    note = f"… and {len(lines) - most:,} more in the page" if len(lines) > most else ""
    return Grid(header, lines[:most], left=left, note=note).take(full)


def text(column: str, value: object) -> str:
    """A cell."""
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return "" if value is None else str(value)
    if SHARES.fullmatch(column):
        return percent(value)
    if column == "psi":
        return f"{reading(value)} {value:.3f}"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def days(description: Description) -> Figure:
    """Rows, and each label's rate or mean, by day; where the splits are cut."""
    lines: dict[str, dict[str, list[tuple[str, float]]]] = {"rows": {}, "labels": {}}
    for day, key, value in description.days.rows():
        panel = lines["rows" if key == "rows" else "labels"]
        panel.setdefault(key, []).append((str(day), value))
    cuts = description.data.notes["cuts"].values()
    return over_days(lines, [times.show(at, "date") for at in cuts])


def rows_line(rows: Mapping[str, int]) -> str:
    """'80,000 train (80 %), …'"""
    total = sum(rows.values())
    parts = (f"{n:,} {split} ({percent(n, total)})" for split, n in rows.items())
    return f"{', '.join(parts)} rows"


def cuts_line(notes: Mapping) -> str:
    """'validation from 2026-03-05, test from 2026-03-06'; '' where the split is not by time."""
    unit = "date" if notes["days"]["dated"] else "number"
    return ", ".join(f"{split} from {times.show(at, unit)}" for split, at in notes["cuts"].items())


def kind(field: Field) -> str:
    """'bag', 'weighted bag', 'vector of 8', 'numeric, periodic', 'sequence beside viewed'."""
    text = f"{'weighted ' * field.weighted}{field.kind}{f' of {field.length}' * (field.length > 0)}"
    text += f" beside {field.beside}" if field.beside else ""
    return f"{text}, {field.embedding}" if field.embedded else text


def kept_fields(data: Prepared) -> Grid:
    """The fields with their tables, their unknown values in each split and what their bags cut, as
    the preparation counted them."""
    cut, splits = data.cut_shares(), list(data.unknown_values)
    header = ["field", "kind", "table\nrows", "slots", *["cut\nin train"] * bool(cut)]
    header += [f"unknown\nin {split.replace('validation', 'valid.')}" for split in splits]
    rows = []
    for field in data.schema.fields:
        row = [field.name, kind(field), f"{field.rows:,}", str(field.slots)]
        row += [percent(cut[field.name]) if field.name in cut else ""] * bool(cut)
        shares = [unknown_share(data, split, field) for split in splits]
        rows.append([*row, *(NOT_KNOWN if value is None else percent(value) for value in shares)])
    return Grid(header, rows, left=2, note=HASHED if data.hash_functions else "")


def unknown_share(data: Prepared, split: str, field: Field) -> float | None:
    """The share of a field's values that are unknown, as the preparation counted them; None of
    hashed fields beyond train, where what train has not seen is not known."""
    if field.name in data.hash_functions and split != "train":
        return None
    return data.unknown_values[split][field.name] / max(data.kept_values[split][field.name], 1)
