"""What stands in a description, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dtn_jax.data import equal_rows
from dtn_jax.data.describe.describe import Description
from dtn_jax.data.describe.labels import QUANTILES
from dtn_jax.report.description import field_sections, label_sections
from dtn_jax.report.description.grid import Grid, number, share
from dtn_jax.report.description.new_ids import new_ids
from dtn_jax.report.description.overview import cuts_line, rows_line
from dtn_jax.report.description.section import Section


def sections(found: Description) -> list[Section]:
    """All that has content, in order."""
    made = [make(found) for make in SECTIONS]
    return [section for section in made if section is not None]


def rows(found: Description) -> Section:
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
    if found.by_weight:
        texts.append(
            "Rows count by their weights, of how many rows each one stands for, in regression "
            "labels, missing labels, correlations, suspects of leaks, drift, the column “by "
            "weight” and the rates by day. Fields, groups and repeated rows are those of the rows "
            "here."
        )
    reasons = sorted((notes.get("rejected") or {}).items(), key=lambda item: -item[1])
    grids = [Grid(("rejected because", "rows"), [(r, f"{n:,}") for r, n in reasons])]
    return Section("Rows", texts, grids if reasons else ())


def group_rows(found: Description) -> Section | None:
    if not found.schema.group:
        return None
    name = found.schema.group
    if not found.groups:
        text = f"Groups ({name}) are left out: a sample of blocks has only a part of each."
        return Section("Groups", [text])
    names = [f"{100 * q:g} %" if q != 0.5 else "median" for q in QUANTILES]
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
    keys = list(found.groups[0].both)
    both = [(key, *(share(g.both[key][1]) for g in found.groups)) for key in keys]
    grids = [
        Grid(
            ("split", "groups", *names, "of train", "rows of those"),
            sizes,
            title="Rows of a group, with quantiles",
            note="Of train: the share of the groups that train has too, and of the rows in them.",
        )
    ]
    if both:
        note = "Of the groups with a row there; GAUC is the mean over those with both classes."
        header = ("task@space", *(g.split for g in found.groups))
        grids.append(Grid(header, both, title="Groups with both classes", note=note))
    return Section(f"Groups: {name}", (), grids)


def repeated(found: Description) -> Section | None:
    kept = found.repeats
    texts = [f"{share(kept.rows)} of train's rows repeat another one, inputs and labels alike."]
    texts += [
        f"{share(known)} of {split}'s rows have the same inputs as a row of train."
        for split, known in kept.in_train.items()
    ]
    if told := equal_rows.line(kept.equal, found.looked_at):
        texts.append(f"{told[0].upper()}{told[1:]}.")
    return Section("Repeated rows", texts) if kept.rows or any(kept.in_train.values()) else None


Make = Callable[[Description], Section | None]
SECTIONS: Sequence[Make] = (
    rows,
    label_sections.rates,
    label_sections.days,
    label_sections.pairs,
    field_sections.alone,
    field_sections.drifts,
    field_sections.fields,
    new_ids,
    group_rows,
    repeated,
)
