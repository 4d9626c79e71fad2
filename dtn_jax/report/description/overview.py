"""The tables about rows, fields and splits, which every prepare shows, and the first remarks."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping

from dtn_jax.data import equal_rows
from dtn_jax.data.describe.describe import Description
from dtn_jax.data.describe.fields import STRONG
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.progress import percent
from dtn_jax.report.grid import Grid
from dtn_jax.schema import Field, Schema

EPOCH = datetime.datetime(1970, 1, 1)
MUCH = 0.3  # a share of unknown values that is remarked on
NAMED = 5  # in a remark
NUMBERS = ("numeric", "vector")  # kinds of fields without ids
UNKNOWN = (
    "Unknown values are missing ones and those that train does not have (often enough): in "
    "validation and test, what train has not seen."
)

CUT = "Cut values are those of train's lists beyond max_values."
NOT_KNOWN = "–"
HASHED = (
    f"{NOT_KNOWN}: hashed values have rows whether train has seen them or not, so that this is not "
    "known; in train the missing ones are shown."
)


def share(value: float | int | None, of: int = 10**9) -> str:
    """'1.2 %'; '' of None."""
    return "" if value is None else percent(round(value * of), of)


def auc(value: float | int) -> str:
    return f"{value:.4f}"


def number(value: float | int) -> str:
    """Four digits: '12,340', '1.234', '0.00123'."""
    if value and (abs(value) < 1e-3 or abs(value) >= 1e9):
        return f"{value:.3g}"
    digits = max(0, 3 - len(f"{abs(value):.0f}")) if abs(value) >= 1 else 4
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def moment(value: int, dated: bool) -> str:
    """A cut: a time in microseconds since 1970 (UTC), or a plain number."""
    if not dated:
        return f"{value:,}"
    found = EPOCH + datetime.timedelta(microseconds=value)
    return f"{found:%Y-%m-%d}" if found.time() == datetime.time() else f"{found:%Y-%m-%d %H:%M:%S}"


def rows_line(rows: Mapping[str, int]) -> str:
    """'80,000 train (80 %), …'"""
    total = sum(rows.values())
    parts = (f"{n:,} {split} ({percent(n, total)})" for split, n in rows.items())
    return f"{', '.join(parts)} rows"


def cuts_line(notes: Mapping) -> str:
    """'validation from 2026-03-05, test from 2026-03-06'; '' where the split is not by time."""
    cuts, days = notes.get("cuts"), notes.get("days")
    if not isinstance(cuts, Mapping) or not cuts:
        return ""
    dated = bool(isinstance(days, Mapping) and days.get("dated"))
    return ", ".join(f"{split} from {moment(at, dated)}" for split, at in cuts.items())


def kind(field: Field) -> str:
    """'bag', 'weighted bag', 'vector of 8', 'numeric, periodic', 'sequence beside viewed'."""
    if field.length:
        return f"{field.kind} of {field.length}"
    if field.embedded:
        return f"{field.kind}, {field.embedding}"
    if field.beside:
        return f"{field.kind} beside {field.beside}"
    return f"weighted {field.kind}" if field.weighted else field.kind


def fields_grid(
    schema: Schema, unknown: Mapping[str, Mapping[str, str]], cut: Mapping[str, float]
) -> Grid:
    """The fields with their tables, their unknown values and what their bags cut.

    Args:
      schema: of the set.
      unknown: {split: {field: the share, as text}}.
      cut: {bag: the share of train's values that found no slot}; {} without bags.
    """
    splits = [f"unknown\nin {split.replace('validation', 'valid.')}" for split in unknown]
    bags = ["cut\nin train"] if cut else []
    header = ("field", "kind", "table\nrows", "slots", *bags, *splits)
    rows = [
        (
            field.name,
            kind(field),
            f"{field.rows:,}",
            str(field.slots),
            *([share(cut.get(field.name))] if cut else []),
            *(found.get(field.name, "") for found in unknown.values()),
        )
        for field in schema.fields
    ]
    return Grid(header, rows, left=2)


def kept_fields(data: Prepared) -> Grid:
    """The fields, as the preparation counted their values."""
    grid = fields_grid(data.schema, kept_unknown(data), data.cut_shares())
    return dataclasses.replace(grid, note=HASHED if data.hash_functions else "")


def unknown_share(data: Prepared, split: str, field: Field) -> float | None:
    """The share of a field's values that are unknown, as the preparation counted them; None of
    hashed fields beyond train, where what train has not seen is not known."""
    if field.name in data.hash_functions and split != "train":
        return None
    values = data.kept_values.get(split, {}).get(field.name, data.rows[split])
    return data.unknown_values[split].get(field.name, 0) / max(values, 1)


def kept_unknown(data: Prepared) -> dict[str, dict[str, str]]:
    """{split: {field: `unknown_share`, as text}}."""
    return {
        split: {
            field.name: share(unknown_share(data, split, field)) or NOT_KNOWN
            for field in data.schema.fields
        }
        for split in data.unknown_values
    }


def unknown_ids(data: Prepared) -> str:
    """A line about the ids of validation that a model does not know, by field, the most first."""
    fields = [field for field in data.schema.fields if field.kind not in NUMBERS]
    shares = {field.name: unknown_share(data, "validation", field) or 0.0 for field in fields}
    some = sorted((name for name in shares if shares[name]), key=lambda name: -shares[name])
    told = [f"{name} {share(shares[name])}" for name in some[:NAMED]]
    if more := some[NAMED:]:
        told.append(f"{len(more)} more at most {share(shares[more[0]])}")
    return (
        "Unknown ids in validation (missing, or not in train often enough): "
        f"{', '.join(told) or 'none'}"
    )


def tasks_grid(schema: Schema) -> Grid:
    rows = [
        (
            task.name,
            task.kind,
            task.space,
            ", ".join(space for space in task.spaces if space != task.space),
            ", ".join(task.upstream),
        )
        for task in schema.tasks
    ]
    header = ("task", "kind", "space of its loss", "also reported in", "upstream")
    return Grid(header, rows, left=5)


def remarks(found: Description) -> list[tuple[str, str]]:
    """What a reader should look at first, and why: suspects of leaks, strong drift, what is new or
    cut."""
    made = [
        (
            f"suspected leak: {figure.field} tells {figure.key}",
            f"{figure.by} alone ranks validation with an AUC of {auc(figure.auc)}: is it known "
            "before the label is, or is it the label in another form?",
        )
        for figure in found.suspects
    ]
    strong: dict[str, list[str]] = {}
    for moved in (*found.field_drift, *found.label_drift):
        if moved.reading == "strong":
            strong.setdefault(moved.name, []).append(f"{moved.psi:.2f} to {moved.split}")
    for name, where in list(strong.items())[:NAMED]:
        made.append((f"strong drift: {name}", f"PSI {', '.join(where)} is above {STRONG}"))
    if len(strong) > NAMED:
        made.append(("strong drift", f"of {len(strong) - NAMED} more: see Drift"))
    last = list(found.rows)[-1]
    new = {f.field.name: f.unknown[last] for f in found.fields if f.unknown[last] > MUCH}
    if new:
        made.append((f"unknown in {last}", f"{_most(new)}: missing, or not in train"))
    if cut := {name: part for name, part in found.cut.items() if part > MUCH}:
        made.append(("cut lists", f"{_most(cut)}: train's values beyond max_values"))
    told = equal_rows.line(found.repeats.equal, found.looked_at)
    if told and not found.notes.get("cuts"):  # by time, copies of a row stay together
        reason = "copies in the log, or too few inputs to tell rows apart"
        made.append(("equal rows", f"{told}: {reason}"))
    repeated = [f"{share(s)} of {n}" for n, s in found.repeats.in_train.items() if s > MUCH]
    if repeated:
        made.append(("repeated rows", f"{', '.join(repeated)} have the same inputs as train's"))
    return made


def _most(shares: Mapping[str, float]) -> str:
    """The largest shares by name, and how many more there are."""
    names = sorted(shares, key=lambda name: -shares[name])
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(f"{name} ({share(shares[name])})" for name in names[:NAMED]) + more
