"""What stands in a description of a data set, in order: sections of text, tables and pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import polars as pl

from dtn_jax.data import equal_rows
from dtn_jax.data.describe import leaks
from dtn_jax.data.describe.describe import Description
from dtn_jax.data.describe.fields import SOME, STRONG
from dtn_jax.data.describe.labels import MOST_DAYS, QUANTILES, shown_days
from dtn_jax.report.description import overview, pictures
from dtn_jax.report.description.overview import NAMED, cuts_line, most, number, rows_line, share
from dtn_jax.report.grid import Grid
from dtn_jax.report.pictures import png
from dtn_jax.report.sections import Section

FEW = 15  # rows of a long table that a terminal shows
MUCH = 0.3  # a share that is remarked on
UNKNOWN_IDS = (
    "Ids and values of train, before rare ones become the unknown id; fields that share a table "
    "are counted together. With a row: the new ids that are frequent enough (min_count). Fallen "
    "out: ids of the older set that train does not have; they keep their rows."
)
WEIGHTED = (
    "Rows count by their weights, of how many rows each one stands for, in regression labels, "
    "missing labels, correlations, suspects of leaks, drift, the column “by weight” and the rates "
    "by day. Fields, groups and repeated rows are those of the rows here."
)
ALONE = (
    "Each field alone: train's rate of the label at each value ranks validation. An AUC above "
    f"{leaks.SUSPECT} is a suspect: a value that is known only after the label, or the label in "
    "another form."
)
DRIFT = (
    "From train to the other splits, as population stability index (Siddiqi, Credit Risk "
    f"Scorecards, 2006): below {SOME} stable, up to {STRONG} some drift, above that strong drift; "
    "chance: 95 % of samples without any drift have that much or less."
)
GROUPS = "Of train: the share of the groups that train has too, and of the rows in them."
MIXED = "Of the groups with a row there; GAUC is the mean over those with both classes."
# How the columns of tables are written; others as text.
COUNTS = ("rows", "positive", "groups", "ids", "new ids", "with a row", "fallen out")
SHARES = ("rate", "from", "to", "by weight", "share", "given", "of train", "rows of those")
SHARES += ("values of new ids",)
WRITTEN: dict[str, Callable[[float], str]] = {
    **dict.fromkeys(COUNTS, "{:,}".format),
    **dict.fromkeys(SHARES, share),
    **dict.fromkeys(("mean", "sd", *QUANTILES), number),
    "AUC": "{:.4f}".format,
    "phi": "{:+.2f}".format,
}
LONG = 9  # letters of a header, from which on its last word is on a line of its own


def grid(table: pl.DataFrame, **how: object) -> list[Grid]:
    """A table as it is shown; none without rows.

    Of three columns the second is spread: a line for each value of the first, a column for each of
    the second. Of others, empty columns are left out.
    """
    rows = [
        ["" if value is None else WRITTEN.get(name, str)(value) for name, value in row.items()]
        for row in table.to_dicts()
    ]
    if not rows:
        return []
    if table.width == 3:
        cells = {(down, across): text for down, across, text in rows}
        lines, columns = (list(dict.fromkeys(key)) for key in zip(*cells))
        spread = [[line, *(cells.get((line, c), "") for c in columns)] for line in lines]
        return [Grid([table.columns[0], *columns], spread, **how)]
    if table.columns[1] == "split":  # the first is written once
        firsts = ["", *(row[0] for row in rows)]
        rows = [["" if r[0] == first else r[0], *r[1:]] for r, first in zip(rows, firsts)]
    left = [dtype == pl.String for dtype in table.dtypes].index(False)
    header = [n if len(n) < LONG else "\n".join(n.rsplit(" ", 1)) for n in table.columns]
    full = [n for n, column in enumerate(table) if column.null_count() < len(table)]
    return [Grid(header, rows, left=left, **how).take(full)]


def sections(found: Description, drawn: bool = False) -> list[Section]:
    """All that has content, in order, `drawn` with its pictures.

    In a page what to look at first is first; in a terminal, whose end is seen, last.
    """
    every = [section for make in SECTIONS for section in make(found)]
    texts = [f"{what}: {why}" for what, why in remarks(found)]
    first = [Section("What to look at first", texts)] if texts else []
    if not drawn:
        return [*every, *first]
    return [*first, *(_with_pictures(section, found) for section in every)]


def _with_pictures(section: Section, found: Description) -> Section:
    """A section whose pictures are functions that draw them, drawn."""
    figures = {text: draw(found) for text, draw in section.pictures.items()}
    drawn = {text: png(figure) for text, figure in figures.items() if figure is not None}
    return dataclasses.replace(section, pictures=drawn)


def remarks(found: Description) -> list[tuple[str, str]]:
    """What a reader should look at first, and why: labels that do not vary, suspects of leaks,
    strong drift, what is new, cut or repeated."""
    data = found.data
    ones, rows = pl.col("positive"), pl.col("rows")
    alike: dict[str, list[str]] = {}
    for row in found.rates.filter((rows > 0) & ((ones == 0) | (ones == rows))).to_dicts():
        text = f"{row['positive']:,} of {row['rows']:,} rows of {row['split']} are positive"
        alike.setdefault(row["task@space"], []).append(text)
    told = [(f"{key} does not vary", ", ".join(texts)) for key, texts in alike.items()]
    told += [
        (
            f"suspected leak: {figure.field} tells {figure.key}",
            f"{figure.by} alone ranks validation with an AUC of {figure.auc:.4f}: is it known "
            "before the label is, or is it the label in another form?",
        )
        for figure in found.suspects
    ]
    strong: dict[str, list[str]] = {}
    for one in [row for t in (found.field_drift, found.label_drift) for row in t.to_dicts()]:
        if one["reading"] == "strong":
            strong.setdefault(one["name"], []).append(f"{one['psi']:.2f} to {one['split']}")
    for name, where in list(strong.items())[:NAMED]:
        told.append((f"strong drift: {name}", f"PSI {', '.join(where)} is above {STRONG}"))
    if len(strong) > NAMED:
        told.append(("strong drift", f"of {len(strong) - NAMED} more: see Drift"))
    last = list(data.rows)[-1]
    new = {f.name: overview.lost_share(data, last, f) for f in data.schema.fields}
    if new := {name: part for name, part in new.items() if part > MUCH}:
        told.append((f"unknown in {last}", f"{most(new)}: missing, or not in train"))
    if cut := {name: part for name, part in data.cut_shares().items() if part > MUCH}:
        told.append(("cut lists", f"{most(cut)}: train's values beyond max_values"))
    if (line := _equal(found)) and not data.notes.get("cuts"):  # else copies stay together
        reason = "copies in the log, or too few inputs to tell rows apart"
        told.append(("equal rows", f"{line}: {reason}"))
    again = found.repeats.filter(pl.col("inputs") > MUCH).to_dicts()
    if again := [f"{share(row['inputs'])} of {row['split']}" for row in again]:
        told.append(("repeated rows", f"{', '.join(again)} have the same inputs as train's"))
    return told


def _equal(found: Description) -> str:
    _, *others = found.repeats.to_dicts()
    return equal_rows.line({row["split"]: row["equal"] for row in others}, found.looked_at)


def rows(found: Description) -> Iterator[Section]:
    """How many, how they were split and sampled, and why some were rejected."""
    notes, texts = found.data.notes, [f"{rows_line(found.data.rows)}."]
    if cuts := cuts_line(notes):
        texts.append(f"Split by time: {cuts}.")
    if not found.whole:
        looked = ", ".join(f"{n:,} of {split}" for split, n in found.looked_at.items())
        texts.append(f"The figures below are of a sample: blocks spread over the set, {looked}.")
    if "read" in notes:
        rejected = sum(notes["rejected"].values())
        texts.append(f"{notes['read']:,} rows were read, {rejected:,} of them rejected.")
    for task, rate in (notes.get("sample_negatives") or {}).items():
        texts.append(f"Train's negatives of {task} were sampled at a rate of {rate:g}.")
    texts += [WEIGHTED] if found.by_weight else []
    reasons = sorted((notes.get("rejected") or {}).items(), key=lambda item: -item[1])
    grids = [Grid(("rejected because", "rows"), [(r, f"{n:,}") for r, n in reasons])]
    yield Section("Rows", texts, grids if reasons else ())


def rates(found: Description) -> Iterator[Section]:
    """Of each label and space by split; the spread of regression labels, and missing ones."""
    note = "Rows count by their weights." if found.data.schema.weight else ""
    grids = [
        *grid(found.rates, shown=60),
        *grid(found.spreads, title="Regression labels, with quantiles", note=note),
        *grid(found.missing, title="Missing labels"),
    ]
    some = not found.rates.is_empty()
    texts = ["How often each label is positive, with Wilson's 95 % interval."] * some
    drawn = {"positive rates by label and split": pictures.rates} if some else {}
    yield Section("Labels", texts, grids, drawn)


def days(found: Description) -> Iterator[Section]:
    """Rows, and the rate or mean of each label, by day."""
    if found.days.is_empty():
        return
    periods, width = shown_days(found.days)
    kinds = {task.name: task.kind for task in found.data.schema.tasks}

    def cell(row: Mapping) -> str:
        if row["key"] == "rows":
            return f"{row['rows']:,.0f}"
        write = share if kinds[row["key"].partition("@")[0]] == "binary" else number
        return write(row["sum"] / row["rows"]) if row["rows"] else ""

    text = pl.struct("key", "rows", "sum").map_elements(cell, pl.String)
    total = found.days.filter(key="rows").sort("rows")
    first, last, ends = total["date"].min(), total["date"].max(), (total.row(0), total.row(-1))
    low, high = (f"{rows:,.0f} on {date}" for date, _, rows, _ in ends)
    texts = [
        f"{len(total):,} days (UTC) from {first} to {last}: rows, and the rate (or mean) of each "
        "label.",
        f"More than {MOST_DAYS} days: put together by {width}, under the first of them.",
        f"Fewest rows: {low}; most: {high}.",
    ]
    texts = texts if width > 1 else texts[::2]
    table = periods.select(pl.col("date").alias("day"), "key", text.alias("text"))
    yield Section("Days", texts, grid(table, shown=FEW), {"rows and rates by day": pictures.days})


def pairs(found: Description) -> Iterator[Section]:
    """How labels go together."""
    table = found.pairs.rename({"label": "where"})
    given = "P(column | row): of rows with one label, the other"
    grids = [
        *grid(table.select("where", "other", "given"), title=given),
        *grid(table.select("where", "other", "phi"), title="Correlation (phi)"),
    ]
    texts = ["How labels go together in train, where both are known."]
    if grids:
        yield Section("Pairs of labels", texts, grids, {"how labels go together": pictures.pairs})


def alone(found: Description) -> Iterator[Section]:
    """What each field tells of a label by itself."""
    texts = [ALONE] if found.suspects else [ALONE, "No field is a suspect."]
    if grids := grid(found.told, shown=FEW):
        yield Section("Suspects of leaks", texts, grids, {"AUC of single fields": pictures.alone})


def drifts(found: Description) -> Iterator[Section]:
    """How far fields and labels moved from train."""
    grids = []
    for what, table in (("fields", found.field_drift), ("labels", found.label_drift)):
        if len(table):
            largest = pl.col("psi").max().over("name")
            table = table.sort(largest, descending=True, maintain_order=True).select(
                pl.col("name").alias(f"PSI of {what}"),
                "split",
                pl.struct("psi", "reading").map_elements(
                    "{reading} {psi:.4f}".format_map, pl.String
                ),
            )
            grids += grid(table, shown=FEW)
    if grids:
        drawn = {"drift from train by field": pictures.drifts}
        yield Section("Drift", [DRIFT], grids, drawn)


def fields(found: Description) -> Iterator[Section]:
    """Their tables and unknown values."""
    kept = overview.kept_fields(found.data)
    notes = (overview.UNKNOWN, overview.CUT if found.data.cut_shares() else "", kept.note)
    shown = dataclasses.replace(kept, note=" ".join(filter(None, notes)))
    yield Section("Fields", (), [shown], {"unknown values by field": pictures.unknown})


def new_ids(found: Description) -> Iterator[Section]:
    """Of a set that extends another: how many ids of its train are new."""
    if "extends" in found.data.notes:
        older, *before = found.data.notes["extends"]["sets"]
        texts = [f"The set extends {older['name']}, fingerprint {older['fingerprint'][:16]}."]
        names = ", ".join(f"{one['name']} ({one['fingerprint'][:16]})" for one in before)
        texts += [f"That one extends {names}."] if names else []
        yield Section("New ids", texts, grid(found.new_ids, note=UNKNOWN_IDS))


def groups(found: Description) -> Iterator[Section]:
    """The sizes of groups, and how many have both classes."""
    name = found.data.schema.group
    grids = [
        *grid(found.groups, title="Rows of a group, with quantiles", note=GROUPS),
        *grid(found.mixed, title="Groups with both classes", note=MIXED),
    ]
    text = f"Groups ({name}) are left out: a sample of blocks has only a part of each."
    if name:
        yield Section(f"Groups: {name}", [] if grids else [text], grids)


def repeated(found: Description) -> Iterator[Section]:
    """Rows that are there more than once."""
    train, *others = found.repeats.to_dicts()
    texts = [
        f"{share(train['repeated'])} of train's rows repeat another one, inputs and labels alike."
    ]
    texts += [
        f"{share(row['inputs'])} of {row['split']}'s rows have the same inputs as a row of train."
        for row in others
    ]
    if line := _equal(found):
        texts.append(f"{line[0].upper()}{line[1:]}.")
    if train["repeated"] or any(row["inputs"] for row in others):
        yield Section("Repeated rows", texts)


SECTIONS = (rows, rates, days, pairs, alone, drifts, fields, new_ids, groups, repeated)
