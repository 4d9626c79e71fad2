"""What every prepare shows of rows, fields and splits; alone, since an export's card needs it and
nothing else of a description."""

from __future__ import annotations

from collections.abc import Mapping

from dtn_jax.data import times
from dtn_jax.data.prepared import Prepared
from dtn_jax.data.progress import percent
from dtn_jax.report.grid import Grid
from dtn_jax.schema import Field

NOT_KNOWN = "–"
HASHED = (
    f"{NOT_KNOWN}: hashed values have rows whether train has seen them or not, so that this is not "
    "known; in train the missing ones are shown."
)


def share(value: float | int) -> str:
    """'1.2 %'"""
    return percent(round(value * 10**9), 10**9)


def rows_line(rows: Mapping[str, int]) -> str:
    """'80,000 train (80 %), …'"""
    total = sum(rows.values())
    parts = (f"{n:,} {split} ({percent(n, total)})" for split, n in rows.items())
    return f"{', '.join(parts)} rows"


def cuts_line(notes: Mapping) -> str:
    """'validation from 2026-03-05, test from 2026-03-06'; '' where the split is not by time."""
    cuts, days = notes.get("cuts") or {}, notes.get("days") or {}
    unit = "date" if days.get("dated") else "number"
    return ", ".join(f"{split} from {times.show(at, unit)}" for split, at in cuts.items())


def kind(field: Field) -> str:
    """'bag', 'weighted bag', 'vector of 8', 'numeric, periodic', 'sequence beside viewed'."""
    text = f"{'weighted ' * field.weighted}{field.kind}{f' of {field.length}' * (field.length > 0)}"
    text += f" beside {field.beside}" if field.beside else ""
    return f"{text}, {field.embedding}" if field.embedded else text


def kept_fields(data: Prepared) -> Grid:
    """The fields with their tables, their unknown values in each split and what their bags cut, as
    the preparation counted them."""
    cut, splits = data.cut_shares(), list(data.unknown_values)
    columns = [f"unknown\nin {split.replace('validation', 'valid.')}" for split in splits]
    header = [
        "field",
        "kind",
        "table\nrows",
        "slots",
        *(["cut\nin train"] if cut else ()),
        *columns,
    ]
    rows = []
    for field in data.schema.fields:
        shares = [unknown_share(data, split, field) for split in splits]
        bag = [share(cut[field.name]) if field.name in cut else ""] if cut else []
        texts = [NOT_KNOWN if value is None else share(value) for value in shares]
        rows.append((field.name, kind(field), f"{field.rows:,}", str(field.slots), *bag, *texts))
    return Grid(header, rows, left=2, note=HASHED if data.hash_functions else "")


def unknown_share(data: Prepared, split: str, field: Field) -> float | None:
    """The share of a field's values that are unknown, as the preparation counted them; None of
    hashed fields beyond train, where what train has not seen is not known."""
    if field.name in data.hash_functions and split != "train":
        return None
    values = data.kept_values.get(split, {}).get(field.name, data.rows[split])
    return data.unknown_values[split].get(field.name, 0) / max(values, 1)
