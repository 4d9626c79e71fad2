"""What stands in a description of a data set, in order: sections of text, tables and a picture."""

from __future__ import annotations

import polars as pl
from matplotlib.figure import Figure

from dtn_jax.data import equal_rows, times
from dtn_jax.data.describe import leaks
from dtn_jax.data.describe.describe import Description
from dtn_jax.data.describe.fields import SOME, STRONG, reading
from dtn_jax.report.description import overview
from dtn_jax.report.description.overview import cuts_line, rows_line, share
from dtn_jax.report.grid import Grid
from dtn_jax.report.pictures import png
from dtn_jax.report.plots import over_days
from dtn_jax.report.sections import Section

MANY = 60  # lines of a table that a terminal shows
WEIGHTED = "Rows count by their weights, but for the rates beside those by weight, and fields."
UNKNOWN = (
    "Unknown values are missing ones and those that train does not have (often enough); cut ones "
    "are those of train's lists beyond max_values."
)
SECTIONS = {  # table of a description: its section's title and text
    "rates": ("Labels", "How often each label is positive, with Wilson's 95 % interval."),
    "spreads": ("Regression labels", "Their means, deviations and quantiles."),
    "missing": ("Missing labels", "The share of the rows whose label is missing."),
    "days": ("Days", "By day (UTC): rows, and the rate (or mean) of each label."),
    "pairs": (
        "Pairs of labels",
        "Of train's rows with one, the share with the other (given).",
    ),
    "alone": (
        "Suspects of leaks",
        "Each field alone: train's rate of the label at each value ranks validation. An AUC above "
        f"{leaks.SUSPECT} is a suspect: the label in another form, or known only after it.",
    ),
    "drift": (
        "Drift",
        "From train, as population stability index (Siddiqi, Credit Risk Scorecards, 2006): below "
        f"{SOME} stable, up to {STRONG} some drift, above that strong.",
    ),
    "new_ids": (
        "New ids",
        "Of train, before rare ones become the unknown id. With a row: those that are frequent "
        "enough (min_count). Fallen out: ids of the older set that train lacks; they keep theirs.",
    ),
    "repeats": (
        "Repeated rows",
        "Rows of train that repeat another one, inputs and labels alike; rows of other splits "
        "with the inputs of a row of train, and equal to one.",
    ),
}
SHARES = (
    "rate",
    "from",
    "to",
    "by weight",
    "share",
    "share of values",
    "given",
    "repeated",
    "inputs",
    "equal",
)
LONG = 9  # letters of a header, from which on its last word is on a line of its own


def sections(description: Description, drawn: bool = False) -> list[Section]:
    """All that has content, in order, `drawn` with its picture.

    In a page what to look at first is first; in a terminal, whose end is seen, last.
    """
    order = pl.col("psi").max().over("name")
    tables = {name: getattr(description, name) for name in SECTIONS}
    tables["alone"] = pl.DataFrame(description.alone)
    tables["drift"] = description.drift.sort(order, descending=True, maintain_order=True)
    every = [rows(description)]
    for name, (title, text) in SECTIONS.items():
        if len(tables[name]):
            pictures = {title: png(days(description))} if drawn and name == "days" else {}
            shown = grid(tables[name], len(tables[name]) if drawn else MANY)
            every.append(Section(title, [text], [shown], pictures))
    every.append(Section("Fields", [UNKNOWN], [overview.kept_fields(description.data)]))
    first = [Section("What to look at first", texts)] if (texts := remarks(description)) else []
    return [*first, *every] if drawn else [*every, *first]


def grid(table: pl.DataFrame, most: int) -> Grid:
    """A table as it is shown, `most` lines of it.

    Of three columns the second is spread: a line for each value of the first, a column for each of
    the second. Of others, empty columns are left out.
    """
    names = table.columns
    lines = [[text(*cell) for cell in zip(names, row)] for row in table.rows()]
    if table.width == 3:
        cells = {(down, across): cell for down, across, cell in lines}
        downs, columns = (list(dict.fromkeys(key)) for key in zip(*cells))
        lines = [[down, *(cells.get((down, c), "") for c in columns)] for down in downs]
        left, names, full = 1, [names[0], *columns], range(len(columns) + 1)
    else:
        left = [dtype == pl.String for dtype in table.dtypes].index(False)
        full = [n for n, column in enumerate(table) if column.null_count() < len(table)]
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
    if column in SHARES:
        return share(value)
    number = f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{reading(value)} {number}" if column == "psi" else number


def remarks(description: Description) -> list[str]:
    """What a reader should look at first: leaks, strong drift, rows that train has too."""
    texts = [
        f"suspected leak: {figure.field} tells {figure.label}: {figure.by} alone ranks validation "
        f"with an AUC of {figure.auc:.4f}. Is it known before the label is?"
        for figure in description.alone
        if figure.suspect
    ]
    strong = description.drift.filter(pl.col("psi") > STRONG)["name"].unique(maintain_order=True)
    texts += [f"strong drift from train: {', '.join(strong)}"] if len(strong) else []
    equal = dict(description.repeats["split", "equal"].rows()[1:])
    line = equal_rows.line(equal, description.looked_at)
    if line and not description.data.notes.get("cuts"):  # else copies stay together
        texts.append(f"{line}: copies in the log, or too few inputs to tell rows apart")
    return texts


def rows(description: Description) -> Section:
    """How many, how they were split and sampled, and why some were rejected."""
    data = description.data
    notes, texts = data.notes, [f"{rows_line(data.rows)}."]
    if cuts := cuts_line(notes):
        texts.append(f"Split by time: {cuts}.")
    if dict(data.rows) != dict(description.looked_at):
        looked = ", ".join(f"{n:,} of {split}" for split, n in description.looked_at.items())
        texts.append(f"The figures below are of a sample: blocks spread over the set, {looked}.")
    if "read" in notes:
        rejected = sum(notes["rejected"].values())
        texts.append(f"{notes['read']:,} rows were read, {rejected:,} of them rejected.")
    for older in data.extends[:1]:
        texts.append(f"The set extends {older['name']}, fingerprint {older['fingerprint'][:16]}.")
    texts += [WEIGHTED] if description.by_weight else []
    return Section("Rows", texts)


def days(description: Description) -> Figure:
    """Rows, and each label's rate or mean, by day; where the splits are cut."""
    lines: dict[str, dict[str, list[tuple[str, float]]]] = {"rows": {}, "labels": {}}
    for day, key, value in description.days.rows():
        panel = lines["rows" if key == "rows" else "labels"]
        panel.setdefault(key, []).append((str(day), value))
    cuts = description.data.notes.get("cuts") or {}
    return over_days(lines, [times.show(at, "date") for at in cuts.values()])
