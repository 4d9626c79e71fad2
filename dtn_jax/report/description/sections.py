"""What stands in a description of a data set, in order: sections of text, tables and a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import polars as pl
from matplotlib.figure import Figure

from dtn_jax.data import equal_rows, times
from dtn_jax.data.describe import leaks
from dtn_jax.data.describe.describe import Description
from dtn_jax.data.describe.fields import SOME, STRONG, reading
from dtn_jax.data.describe.labels import QUANTILES
from dtn_jax.data.prepared import Prepared
from dtn_jax.report.description import overview
from dtn_jax.report.description.overview import cuts_line, most, rows_line, share
from dtn_jax.report.grid import Grid
from dtn_jax.report.pictures import png
from dtn_jax.report.plots import over_days
from dtn_jax.report.sections import Section

FEW, MANY = 15, 60  # lines of a spread table, and of others, that a terminal shows
MUCH = 0.3  # a share that is remarked on
WEIGHTED = "Rows count by their weights, but for the rates beside those by weight, and fields."
UNKNOWN = (
    "Unknown values are missing ones and those that train does not have (often enough); cut ones "
    "are those of train's lists beyond max_values."
)
SECTIONS = {  # table of a description: its section's title and text
    "rates": ("Labels", "How often each label is positive, with Wilson's 95 % interval."),
    "spreads": ("Regression labels", "Their means, standard deviations and quantiles."),
    "missing": ("Missing labels", "The share of the rows whose label is missing."),
    "days": ("Days", "By day (UTC): rows, and the rate (or mean) of each label."),
    "pairs": (
        "Pairs of labels",
        "How labels go together in train, where both are known: of the rows with one label the "
        "share that has the other (given), and their correlation (phi).",
    ),
    "alone": (
        "Suspects of leaks",
        "Each field alone: train's rate of the label at each value ranks validation. An AUC above "
        f"{leaks.SUSPECT} is a suspect: a value that is known only after the label, or the label "
        "in another form.",
    ),
    "drift": (
        "Drift",
        "From train to the other splits, as population stability index (Siddiqi, Credit Risk "
        f"Scorecards, 2006): below {SOME} stable, up to {STRONG} some drift, above that strong.",
    ),
    "new_ids": (
        "New ids",
        "Ids and values of train, before rare ones become the unknown id; fields that share a "
        "table are counted together. With a row: the new ids that are frequent enough "
        "(min_count). Fallen out: ids of the older set that train does not have; they keep their "
        "rows.",
    ),
    "repeats": (
        "Repeated rows",
        "Of train, rows that repeat another one, inputs and labels alike; of the other splits, "
        "rows with the inputs of a row of train, and rows that are equal to one.",
    ),
}
# How the columns of tables are written; others as text.
COUNTS = ("rows", "positive", "ids", "new ids", "with a row", "fallen out")
SHARES = ("rate", "from", "to", "by weight", "share", "given")
SHARES += ("values of new ids", "repeated", "inputs", "equal")
WRITTEN: dict[str, Callable[[float], str]] = {
    **dict.fromkeys(COUNTS, "{:,}".format),
    **dict.fromkeys(SHARES, share),
    **dict.fromkeys(
        ("value", "mean", "sd", *QUANTILES),
        lambda x: f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.4g}",
    ),
    "auc": "{:.4f}".format,
    "phi": "{:+.2f}".format,
    "psi": lambda value: f"{reading(value)} {value:.4f}",
}
LONG = 9  # letters of a header, from which on its last word is on a line of its own


def sections(found: Description, drawn: bool = False) -> list[Section]:
    """All that has content, in order, `drawn` with its picture.

    In a page what to look at first is first; in a terminal, whose end is seen, last.
    """
    order = pl.col("psi").max().over("name")
    tables = {name: getattr(found, name) for name in SECTIONS}
    tables["alone"] = pl.DataFrame(found.alone)
    tables["drift"] = found.drift.sort(order, descending=True, maintain_order=True)
    every = [
        Section(title, [text], [grid(tables[name])])
        for name, (title, text) in SECTIONS.items()
        if len(tables[name])
    ]
    if drawn and len(found.days):
        picture = {"rows and labels by day": png(days(found))}
        place = [section.title for section in every].index(SECTIONS["days"][0])
        every[place] = dataclasses.replace(every[place], pictures=picture)
    every = [rows(found), *every, fields(found.data)]
    first = [Section("What to look at first", texts)] if (texts := remarks(found)) else []
    return [*first, *every] if drawn else [*every, *first]


def grid(table: pl.DataFrame) -> Grid:
    """A table as it is shown.

    Of three columns the second is spread: a line for each value of the first, a column for each of
    the second. Of others, empty columns are left out.
    """
    texts = [
        ["" if value is None else WRITTEN.get(name, str)(value) for name, value in row.items()]
        for row in table.to_dicts()
    ]
    if table.width == 3:
        cells = {(down, across): text for down, across, text in texts}
        lines, columns = (list(dict.fromkeys(key)) for key in zip(*cells))
        spread = [[line, *(cells.get((line, c), "") for c in columns)] for line in lines]
        return Grid([table.columns[0], *columns], spread, shown=FEW)
    if table.columns[1] == "split":  # the first is written once
        firsts = ["", *(row[0] for row in texts)]
        texts = [["" if r[0] == first else r[0], *r[1:]] for r, first in zip(texts, firsts)]
    left = [dtype == pl.String for dtype in table.dtypes].index(False)
    header = [n if len(n) < LONG else "\n".join(n.rsplit(" ", 1)) for n in table.columns]
    full = [n for n, column in enumerate(table) if column.null_count() < len(table)]
    return Grid(header, texts, left=left, shown=MANY).take(full)


def remarks(found: Description) -> list[str]:
    """What a reader should look at first: leaks, strong drift, what is new or repeated."""
    data, last = found.data, list(found.data.rows)[-1]
    texts = [
        f"suspected leak: {figure.field} tells {figure.label}: {figure.by} alone ranks validation "
        f"with an AUC of {figure.auc:.4f}. Is it known before the label is?"
        for figure in found.alone
        if figure.suspect
    ]
    strong = found.drift.filter(pl.col("psi") > STRONG)["name"].unique(maintain_order=True)
    texts += [f"strong drift from train: {', '.join(strong)}"] if len(strong) else []
    new = {f.name: overview.unknown_share(data, last, f) or 0.0 for f in data.schema.fields}
    if new := {name: part for name, part in new.items() if part > MUCH}:
        texts.append(f"unknown in {last}: {most(new)}: missing, or not in train")
    equal = dict(found.repeats["split", "equal"].rows()[1:])
    line = equal_rows.line(equal, found.looked_at)
    if line and not data.notes.get("cuts"):  # else copies stay together
        texts.append(f"{line}: copies in the log, or too few inputs to tell rows apart")
    return texts


def rows(found: Description) -> Section:
    """How many, how they were split and sampled, and why some were rejected."""
    data = found.data
    notes, texts = data.notes, [f"{rows_line(data.rows)}."]
    if cuts := cuts_line(notes):
        texts.append(f"Split by time: {cuts}.")
    if dict(data.rows) != dict(found.looked_at):
        looked = ", ".join(f"{n:,} of {split}" for split, n in found.looked_at.items())
        texts.append(f"The figures below are of a sample: blocks spread over the set, {looked}.")
    if "read" in notes:
        rejected = sum(notes["rejected"].values())
        texts.append(f"{notes['read']:,} rows were read, {rejected:,} of them rejected.")
    for older in data.extends[:1]:
        texts.append(f"The set extends {older['name']}, fingerprint {older['fingerprint'][:16]}.")
    for task, rate in (notes.get("sample_negatives") or {}).items():
        texts.append(f"Train's negatives of {task} were sampled at a rate of {rate:g}.")
    texts += [WEIGHTED] if found.by_weight else []
    return Section("Rows", texts)


def fields(data: Prepared) -> Section:
    """Their tables and unknown values."""
    return Section("Fields", [UNKNOWN], [overview.kept_fields(data)])


def days(found: Description) -> Figure:
    """Rows, and each label's rate or mean, by day; where the splits are cut."""
    kinds = {f"{t.name}@{space}": t.kind for t in found.data.schema.tasks for space in t.spaces}
    titles = {"binary": "rates", "regression": "means"}
    lines: dict[str, dict[str, list[tuple[str, float]]]] = {}
    for day, key, value in found.days.rows():
        of_kind = lines.setdefault(titles.get(kinds.get(key, ""), "rows"), {})
        of_kind.setdefault(key, []).append((str(day), value))
    cuts = found.data.notes.get("cuts") or {}
    return over_days(lines, [times.show(at, "date") for at in cuts.values()])
