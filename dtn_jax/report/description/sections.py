"""What stands in a description of a data set, in order: sections of text, tables and pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dtn_jax.data import equal_rows
from dtn_jax.data.describe import labels, leaks
from dtn_jax.data.describe.describe import Description
from dtn_jax.data.describe.fields import SOME, STRONG, Drift
from dtn_jax.data.describe.labels import MOST_DAYS, QUANTILES, shown_days
from dtn_jax.data.progress import percent
from dtn_jax.report.description import overview
from dtn_jax.report.description.overview import auc, cuts_line, number, rows_line, share
from dtn_jax.report.description.pictures import PICTURES
from dtn_jax.report.grid import Grid
from dtn_jax.report.pictures import png
from dtn_jax.report.sections import Section

FEW = 15  # rows of a long table that a terminal shows
WIDEST = 7  # labels whose pairs a terminal has room for
UNKNOWN_IDS = (
    "Ids and values of train, before rare ones become the unknown id; fields that share a table "
    "are counted together. With a row: the new ids that are frequent enough (min_count). Fallen "
    "out: ids of the older set that train does not have; they keep their rows."
)
SPREAD = (
    "In train: the share of the table's rows that occur, how often the middle one of these does, "
    "the share of values that the most frequent one has, and exp(entropy): as many equally "
    "frequent values would be spread alike."
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


def sections(found: Description, drawn: bool = False) -> list[Section]:
    """All that has content, in order, `drawn` with its pictures.

    In a page what to look at first is first; in a terminal, whose end is seen, last.
    """
    made = [section for make in SECTIONS for section in make(found)]
    texts = [f"{what}: {why}" for what, why in overview.remarks(found)]
    first = [Section("What to look at first", texts)] if texts else []
    if not drawn:
        return [*made, *first]
    return [*first, *(_with_pictures(section, found) for section in made)]


def _with_pictures(section: Section, found: Description) -> Section:
    """Pictures that are named by their addresses, drawn."""
    figures = {text: PICTURES[name](found) for text, name in section.pictures.items()}
    drawn = {text: png(figure) for text, figure in figures.items() if figure is not None}
    return dataclasses.replace(section, pictures=drawn)


def rows(found: Description) -> Iterator[Section]:
    """How many, how they were split and sampled, and why some were rejected."""
    notes, texts = found.notes, [f"{rows_line(found.rows)}."]
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
    keys = [f"{task.name}@{space}" for task in found.schema.tasks for space in task.spaces]
    weighted = any(rate.weighted is not None for rate in found.rates)
    header = ("task@space", "split", "rows", "positive", "rate", "95 % interval")
    cells = [
        (
            rate.key,
            rate.split,
            f"{rate.rows:,}",
            f"{rate.positives:,}",
            share(rate.rate) or "no rows",
            "" if rate.low is None else f"{share(rate.low)} to {share(rate.high)}",
            *([share(rate.weighted)] if weighted else ()),
        )
        for rate in sorted(found.rates, key=lambda rate: keys.index(rate.key))
    ]
    header += ("by weight",) if weighted else ()
    grids = [Grid(header, _once(cells), left=2, shown=60)] if cells else []
    if found.spreads:
        spread = [
            (s.key, s.split, f"{s.rows:,}", *map(number, (s.mean, s.deviation, *s.quantiles)))
            for s in sorted(found.spreads, key=lambda spread: keys.index(spread.key))
        ]
        header = ("task@space", "split", "rows", "mean", "sd", *_names(labels.QUANTILES))
        title = "Regression labels, with quantiles"
        note = "Rows count by their weights." if found.schema.weight else ""
        grids.append(Grid(header, _once(spread), title, note, left=2))
    lost = [
        (task, *(share(by_task.get(task, 0.0)) for by_task in found.missing.values()))
        for task in found.schema.task_names
        if any(task in by_task for by_task in found.missing.values())
    ]
    if lost:
        grids.append(Grid(("label", *found.missing), lost, title="Missing labels"))
    texts = ["How often each label is positive, with Wilson's interval."] if found.rates else []
    picture = {"positive rates by label and split": "rates"} if found.rates else {}
    yield Section("Labels", texts, grids, pictures=picture)


def _names(quantiles: Sequence[float]) -> list[str]:
    return [f"{100 * q:g} %" if q != 0.5 else "median" for q in quantiles]


def _once(cells: list[tuple]) -> list[tuple]:
    """Rows whose first cell is that of the row before have an empty one."""
    firsts = ["", *(row[0] for row in cells)]
    return [("" if row[0] == before else row[0], *row[1:]) for row, before in zip(cells, firsts)]


def days(found: Description) -> Iterator[Section]:
    """Rows, and the rate or mean of each label, by day."""
    if not found.days:
        return
    periods, width = shown_days(found.days)
    keys = list(found.days[0].sums)
    kinds = {task.name: task.kind for task in found.schema.tasks}

    def mean(key: str, count: int, total: float) -> str:
        write = share if kinds[key.partition("@")[0]] == "binary" else number
        return write(total / count) if count else ""

    cells = [
        (f"{p.date}", f"{p.rows:,}", *(mean(key, *p.sums.get(key, (0, 0.0))) for key in keys))
        for p in periods
    ]
    texts = [
        f"{len(found.days):,} days (UTC) from {found.days[0].date} to {found.days[-1].date}: "
        "rows, and the rate (or mean) of each label."
    ]
    if width > 1:
        texts.append(
            f"More than {MOST_DAYS} days: put together by {width}, under the first of them."
        )
    ends = sorted(found.days, key=lambda day: day.rows)
    low, high = ends[0], ends[-1]
    texts.append(f"Fewest rows: {low.rows:,} on {low.date}; most: {high.rows:,} on {high.date}.")
    grid = Grid(("day", "rows", *keys), cells)
    yield Section("Days", texts, more=[grid], pictures={"rows and rates by day": "days"})


def pairs(found: Description) -> Iterator[Section]:
    """How labels go together."""
    if found.pairs is None:
        return
    names = list(found.pairs.tasks)

    def grid(what: str, values: np.ndarray, write: Callable[[float], str], title: str) -> Grid:
        texts = [["" if np.isnan(v) else write(v) for v in row] for row in values]
        cells = [(name, *row) for name, row in zip(names, texts, strict=True)]
        return Grid((what, *names), cells, title=title)

    given = "P(column | row): of rows with one label, the other"
    grids = [
        grid("where", found.pairs.given, share, given),
        grid("phi", found.pairs.phi, lambda value: f"{value:+.2f}", "Correlation (phi)"),
    ]
    small = len(names) <= WIDEST
    texts = ["How labels go together in train, where both are known."]
    picture = {"how labels go together": "pairs"}
    yield Section("Pairs of labels", texts, grids * small, grids * (not small), picture)


def alone(found: Description) -> Iterator[Section]:
    """What each field tells of a label by itself."""
    if not found.alone:
        return
    cells = [
        (
            f.field if f.entry is None else f"{f.field}[{f.entry}]",
            f.key,
            f.by,
            auc(f.auc),
            "suspect" if f.suspect else "",
        )
        for f in found.alone
    ]
    grid = Grid(("field", "label", "by", "AUC", ""), cells, left=3, shown=FEW)
    if not found.suspects:
        grid = grid.take(range(4))
    texts = [ALONE] if found.suspects else [ALONE, "No field is a suspect."]
    yield Section("Suspects of leaks", texts, [grid], pictures={"AUC of single fields": "alone"})


def drifts(found: Description) -> Iterator[Section]:
    """How far fields and labels moved from train."""
    splits = list(found.rows)[1:]
    grids = []
    for what, kept in (("fields", found.field_drift), ("labels", found.label_drift)):
        by_name: dict[str, dict[str, Drift]] = {}
        for moved in kept:
            by_name.setdefault(moved.name, {})[moved.split] = moved
        cells = [
            (
                name,
                *(
                    text
                    for split in splits
                    for text in (
                        (f"{own[split].psi:.4f}", own[split].reading) if split in own else ("", "")
                    )
                ),
            )
            for name, own in sorted(
                by_name.items(), key=lambda item: -max(m.psi for m in item[1].values())
            )
        ]
        header = (what, *(cell for split in splits for cell in (f"PSI {split}", "reading")))
        grids += [Grid(header, cells, shown=FEW)] if cells else []
    if grids:
        yield Section("Drift", [DRIFT], grids, pictures={"drift from train by field": "drift"})


def fields(found: Description) -> Iterator[Section]:
    """Their tables and unknown values, and how values are spread over ids."""
    splits = list(found.rows)
    unknown = {
        split: {
            f.field.name: overview.NOT_KNOWN if f.hashed and n > 0 else share(f.unknown[split])
            for f in found.fields
        }
        for n, split in enumerate(splits)
    }
    notes = [overview.UNKNOWN, *([overview.CUT] if found.cut else ())]
    notes += [overview.HASHED] if any(f.hashed for f in found.fields) else []
    grid = overview.fields_grid(found.schema, unknown, found.cut)
    grids = [dataclasses.replace(grid, note=" ".join(notes))]
    ids = [f for f in found.fields if not f.field.numbers]
    several = any(f.field.slots > 1 for f in ids)
    spread = [
        (
            f.field.name,
            share(f.covered),
            f"{f.median:,.0f}",
            share(f.largest),
            number(f.effective),
            *([share(f.padded[splits[0]]) if f.field.slots > 1 else ""] if several else ()),
        )
        for f in ids
    ]
    header = ("field", "rows of table\nin train", "median\ncount", "largest\nvalue")
    header += ("effective\nvalues", *(["slots\npadded"] if several else ()))
    if spread:
        title = "How values are spread over ids"
        grids.append(Grid(header, spread, title, SPREAD, shown=40))
    yield Section("Fields", (), grids, pictures={"unknown values by field": "unknown"})


def new_ids(found: Description) -> Iterator[Section]:
    """Of a set that extends another: how many ids of its train are new."""
    notes = found.notes.get("extends")
    if not notes:
        return
    cells = [
        (
            ", ".join(f.name for f in found.schema.fields if f.table == table),
            f"{facts['ids']:,}",
            f"{facts['new_ids']:,}",
            percent(facts["new_ids"], facts["ids"]),
            f"{facts['added']:,}",
            percent(facts["new_values"], facts["values"]),
            f"{facts['fallen_out']:,}",
        )
        for table, facts in notes["ids"].items()
    ]
    older, *before = notes["sets"]
    texts = [f"The set extends {older['name']}, fingerprint {older['fingerprint'][:16]}."]
    if before:
        names = ", ".join(f"{one['name']} ({one['fingerprint'][:16]})" for one in before)
        texts.append(f"That one extends {names}.")
    header = ("field", "ids", "new ids", "share", "with a row", "values\nof new ids", "fallen out")
    yield Section("New ids", texts, [Grid(header, cells, note=UNKNOWN_IDS)] if cells else ())


def groups(found: Description) -> Iterator[Section]:
    """The sizes of groups, and how many have both classes."""
    name = found.schema.group
    if not name:
        return
    if not found.groups:
        text = f"Groups ({name}) are left out: a sample of blocks has only a part of each."
        yield Section("Groups", [text])
        return
    header = ("split", "groups", *_names(QUANTILES), "of train", "rows of those")
    sizes = [
        (
            g.split,
            f"{g.count:,}",
            *map(number, g.quantiles),
            share(g.in_train),
            share(g.rows_in_train),
        )
        for g in found.groups
    ]
    note = "Of train: the share of the groups that train has too, and of the rows in them."
    grids = [Grid(header, sizes, "Rows of a group, with quantiles", note)]
    keys = list(found.groups[0].both)
    if both := [(key, *(share(g.both[key][1]) for g in found.groups)) for key in keys]:
        note = "Of the groups with a row there; GAUC is the mean over those with both classes."
        header = ("task@space", *(g.split for g in found.groups))
        grids.append(Grid(header, both, "Groups with both classes", note))
    yield Section(f"Groups: {name}", (), grids)


def repeated(found: Description) -> Iterator[Section]:
    """Rows that are there more than once."""
    kept = found.repeats
    texts = [f"{share(kept.rows)} of train's rows repeat another one, inputs and labels alike."]
    texts += [
        f"{share(known)} of {split}'s rows have the same inputs as a row of train."
        for split, known in kept.in_train.items()
    ]
    if line := equal_rows.line(kept.equal, found.looked_at):
        texts.append(f"{line[0].upper()}{line[1:]}.")
    if kept.rows or any(kept.in_train.values()):
        yield Section("Repeated rows", texts)


SECTIONS = (rows, rates, days, pairs, alone, drifts, fields, new_ids, groups, repeated)
