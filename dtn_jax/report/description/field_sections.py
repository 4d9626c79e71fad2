"""What a description says of the fields: their values, suspects of leaks, drift."""

from __future__ import annotations

import dataclasses

from dtn_jax.data.describe import leaks
from dtn_jax.data.describe.describe import Description
from dtn_jax.data.describe.fields import SOME, STRONG, Drift
from dtn_jax.report.description import overview
from dtn_jax.report.description.grid import Grid, auc, number, share
from dtn_jax.report.description.section import Section

FEW = 15  # rows of a long table that a terminal shows


def fields(found: Description) -> Section:
    splits = list(found.rows)
    unknown = {
        split: {
            f.field.name: overview.NOT_KNOWN if f.hashed and n > 0 else share(f.unknown[split])
            for f in found.fields
        }
        for n, split in enumerate(splits)
    }
    note = f"{overview.UNKNOWN} {overview.CUT}" if found.cut else overview.UNKNOWN
    if any(f.hashed for f in found.fields):
        note += f" {overview.HASHED}"
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
    grids = [dataclasses.replace(overview.fields_grid(found.schema, unknown, found.cut), note=note)]
    if spread:
        note = (
            "In train: the share of the table's rows that occur, how often the middle one of these "
            "does, the share of values that the most frequent one has, and exp(entropy): as many "
            "equally frequent values would be spread alike."
        )
        grids.append(Grid(header, spread, title="How values are spread over ids", note=note))
    return Section("Fields", (), grids, ("unknown",))


def alone(found: Description) -> Section | None:
    if not found.alone:
        return None
    cells = [
        (
            f.field if f.entry is None else f"{f.field}[{f.entry}]",
            f.key,
            f.by,
            auc(f.auc),
            *(["suspect" if f.suspect else ""] if found.suspects else ()),
        )
        for f in found.alone
    ]
    texts = [
        "Each field alone: train's rate of the label at each value ranks validation. An AUC above "
        f"{leaks.SUSPECT} is a suspect: a value that is known only after the label, or the label "
        "in another form."
    ]
    if not found.suspects:
        texts.append("No field is a suspect.")
    header = ("field", "label", "by", "AUC", *([""] if found.suspects else ()))
    grid = Grid(header, cells, texts=3, shown=FEW)
    return Section("Suspects of leaks", texts, (grid,), ("alone",))


def drifts(found: Description) -> Section | None:
    by_name: dict[str, dict[str, Drift]] = {}
    for moved in (*found.field_drift, *found.label_drift):
        by_name.setdefault(moved.name, {})[moved.split] = moved
    splits = list(found.rows)[1:]
    made = []
    for what, kept in (("fields", found.field_drift), ("labels", found.label_drift)):
        names = list(dict.fromkeys(moved.name for moved in kept))
        names.sort(key=lambda name: -max(m.psi for m in by_name[name].values()))
        cells = []
        for name in names:
            row = [name]
            for split in splits:
                moved = by_name[name].get(split)
                row += [f"{moved.psi:.4f}", moved.reading] if moved else ["", ""]
            cells.append(tuple(row))
        header = (what, *(cell for split in splits for cell in (f"PSI {split}", "reading")))
        if cells:
            made.append(Grid(header, cells, shown=FEW))
    texts = [
        "From train to the other splits, as population stability index (Siddiqi, Credit Risk "
        f"Scorecards, 2006): below {SOME} stable, up to {STRONG} some drift, above "
        "that strong drift; chance: 95 % of samples without any drift have that much or less."
    ]
    return Section("Drift", texts, made, ("drift",)) if made else None
