"""The time column, the column of the groups and the split: given, or guessed by names and values;
and the fields that are made of times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from dtn_jax.datasets.logs import times
from dtn_jax.datasets.logs.infer import names
from dtn_jax.datasets.logs.infer.columns import FEW, Column
from dtn_jax.datasets.logs.infer.draft import (
    FORMULA,
    Draft,
    Entry,
    FieldDraft,
    expression,
    percent,
    quoted,
    shown,
)
from dtn_jax.errors import UserError

YEAR = 365 * times.DAY
WEEKS = 28  # days: a log of fewer tells too little about its weekdays
WRITTEN = (  # 2026030112, and with minutes and seconds: no unit, though it looks like seconds
    r"^(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])([0-5]\d){0,2}$"
)
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= dict.fromkeys(("validation", "valid", "val", "dev", "eval"), "validation")


def time(columns: Mapping[str, Column], given: str) -> Entry:
    """The time column: `given`, or the likeliest of {name: column} of single values.

    Raises:
      UserError: some values of the given one are no times.
    """
    ranks = {name: _rank(c) for name, c in columns.items() if not given}
    ranked = [name for name, rank in ranks.items() if rank is not None]
    column = columns.get(given or min(ranked, key=ranks.__getitem__, default=""))
    if column is None:
        return Entry()
    unit = unit_of(column) or times.unit_of(column.raw)
    seen = times.to_time(column.raw, unit)
    lost = seen.null_count() / max(len(seen), 1)
    if lost > FEW:
        raise UserError(
            f"--time={given}: {percent(lost)} of its values in the sample are missing, or no times,"
            " and such rows are rejected. Mend the log, or name another column"
        )
    facts = f"{_moment(seen.min(), unit)} to {_moment(seen.max(), unit)}"
    note = "" if unit == "number" else far_off(seen)
    if _is_written(column):
        note = (
            f"do numbers such as {column.different[0]} mean a date and an hour? That is no unit, "
            "so they are plain numbers here, in their order; as text such as 2026-03-01 12:00 they "
            "would be times, with hour and weekday"
        )
    written = {} if times.is_date(column.raw.dtype) else {"unit": unit}
    return Entry(column.name, written, facts, [note] if note else [], not given)


def far_off(seen: pl.Series) -> str:
    """A note on times, in microseconds, that are years from most of the others; '' without."""
    at = np.sort(seen.drop_nulls().to_numpy())
    low, high = 0, len(at)
    while high - low > 1:
        gaps = np.diff(at[low:high])
        widest = int(gaps.argmax())
        if gaps[widest] < YEAR or 4 * gaps[widest] < 3 * (at[high - 1] - at[low]):
            break
        fewer = widest + 1 <= (high - low) // 2
        low, high = (low + widest + 1, high) if fewer else (low, low + widest + 1)
    far = np.append(at[:low], at[high:])
    if not len(far):
        return ""
    return (
        f"{len(far):,} of {len(at):,} times ({percent(len(far) / len(at))}) are far from the "
        f"others: {_moment(int(far[0]))} to {_moment(int(far[-1]))}. Are they of another unit, or "
        "is 0 a missing time? The split goes by them"
    )


def unit_of(column: Column) -> str:
    """The unit of a column of times; '' of one that holds none."""
    dtype = column.raw.dtype
    if times.is_date(dtype):
        return "date"
    if not column.known or not (dtype.is_numeric() or dtype == pl.String):
        return ""
    if dtype == pl.String and column.kind != "number":
        head = column.raw.drop_nulls().head(1000)
        return "date" if times.to_time(head, "date").null_count() <= 0.01 * len(head) else ""
    unit = times.unit_of(column.raw)
    if unit == "number":
        return ""
    return "number" if _is_written(column) else unit


def _is_written(column: Column) -> bool:
    """Whether whole numbers are a date and an hour, maybe minutes and seconds too."""
    known = column.values.drop_nulls()
    return known.dtype.is_integer() and bool(known.cast(pl.String).str.contains(WRITTEN).all())


def _rank(column: Column) -> tuple | None:
    """The smallest is the likeliest time column; None is none.

    A telling name counts most; then a column that tells hours comes before one that tells days,
    and one whose type is a time before numbers.
    """
    unit, rank = unit_of(column), names.time_rank(column.name)
    typed = times.is_date(column.raw.dtype) or (column.kind == "text" and unit == "date")
    if not unit or (not typed and rank is None) or column.distinct < 3:
        return None
    if times.to_time(column.raw, unit).null_count() > FEW * len(column.raw):
        return None
    other, vague, place = rank or (False, True, 100)
    return other, vague, unit == "yyyymmdd" or of_days(column, unit), not typed, place


def of_days(column: Column, unit: str) -> bool:
    found = times.to_time(column.raw.head(1000), unit).drop_nulls()
    return bool((found % times.DAY == 0).all())


def _moment(value: int, unit: str = "date") -> str:
    """A time to the second."""
    if unit == "number":
        return shown(value)
    return times.show(value // times.SECOND * times.SECOND, unit)


def group(columns: Mapping[str, Column], given: str) -> Entry:
    """The column of the users or sessions: `given`, or the likeliest of {name: column}.

    Raises:
      UserError: some values of the given one are missing.
    """
    if given and columns[given].missing > FEW:
        raise UserError(
            f"--group={given}: {percent(columns[given].missing)} of its values in the sample are "
            "missing, and such rows are rejected. Write a value for them (one of its own for "
            "each row), or name another column"
        )
    ranks = {name: names.user_rank(name) for name in columns}
    full = {n for n, c in columns.items() if not c.raw.null_count() and 1 < c.distinct < c.known}
    ranked = [name for name in columns if name in full and ranks[name] >= 0]
    column = columns.get(given or min(ranked, key=ranks.__getitem__, default=""))
    if column is None:
        return Entry()
    rows = column.known / max(column.distinct, 1)
    facts = f"{column.distinct:,} groups, of {rows:.3g} rows on average"
    return Entry(column.name, {}, facts, [], not given)


def split_column(columns: Mapping[str, Column]) -> tuple[str, dict[str, Any]]:
    """The column that says each row's split, and the options of such a split; ('', {}) without."""
    for name, c in columns.items():
        found: dict[str | None, list[str]] = {}
        for word in sorted(c.different) if c.kind == "text" and c.distinct <= 6 else ():
            found.setdefault(SPLITS.get(word.lower()), []).append(quoted(word))
        if found.keys() == set(SPLITS.values()) and not c.missing:
            values = ", ".join(f"{part}: [{', '.join(words)}]" for part, words in found.items())
            return name, {"by": "column", "column": quoted(name), "values": f"{{{values}}}"}
    return "", {}


def split(time: Entry, group: Entry, columns: Mapping[str, Column]) -> tuple[dict[str, Any], str]:
    """How rows are split where no column says it, and why."""
    by, why = "time", "the last rows by time; or dates such as 2026-03-05"
    if not time.name:
        other = "; or by: group, whole groups" if group.name else ""
        by, why = "random", f"no time column is known{other}"
    elif times.to_time(columns[time.name].raw, time.options.get("unit", "date")).n_unique() < 3:
        by, why = "random", f"{time.name} has too few times to split by"
    return {"by": by, "validation": "0.1", "test": "0.1"}, why


def add_times(draft: Draft, columns: Mapping[str, Column]) -> None:
    """Adds hour and weekday of the time column, and offers those of others."""
    taken = {entry.name for entry in (*draft.fields, *draft.tasks)}
    event, unit = columns.get(draft.time.name), draft.time.options.get("unit", "date")
    made = [] if event is None or unit == "number" else _parts(event, unit)
    fields = [field for field in made if field.name not in taken]
    for field in draft.fields:
        fields.append(field)
        c = columns.get(field.name)
        if c is None or not times.is_date(c.raw.dtype) or field.suspect or not c.known:
            continue
        made, read = _parts(c, "date", f"_of_{c.name}"), expression(c.name)
        if event is not None and times.is_date(event.raw.dtype) and read:
            value = quoted(f"number({expression(event.name)}) - number({read})", FORMULA)
            options = {"kind": "numeric", "log": "true", "value": value}
            facts = "seconds from then to the event"
            made.insert(0, FieldDraft(f"since_{c.name}", options, facts))
        for offer in made:
            offer.offer = True
            fields += [offer] if offer.name not in taken else []
    draft.fields = fields


def _parts(column: Column, unit: str, suffix: str = "") -> list[FieldDraft]:
    """Fields of its hours and its weekdays, as far as they differ."""
    at, read = times.to_time(column.raw, unit).cast(pl.Datetime("us")), expression(column.name)
    parts = {
        "hour": (at.dt.hour(), "0 to 23, UTC"),
        "weekday": (at.dt.weekday(), "0 is Monday, UTC"),
    }
    found = []
    for name, (values, facts) in parts.items():
        if read and values.drop_nulls().n_unique() > 1:
            options = {"value": quoted(f"{name}({read})", FORMULA)}
            found.append(FieldDraft(name + suffix, options, "" if suffix else facts))
    days = at.dt.date().n_unique()
    if not suffix and found and found[-1].name == "weekday" and days < WEEKS:
        found[-1].leave_out(f"{days} days in all, too few weeks to tell weekdays from days")
    return found
