"""What columns say of rows: the labels, the time, the group, the split; given, or guessed by names
and values. And which label lies in which, and the fields that are made of times.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from dtn_jax.data import times
from dtn_jax.data.infer import names
from dtn_jax.data.infer.draft import (
    FORMULA,
    Draft,
    Entry,
    FieldDraft,
    TaskDraft,
    expression,
    percent,
    quoted,
    shown,
)
from dtn_jax.data.infer.sample import FEW, SMALL, STRAY, Column
from dtn_jax.data.schemas.spec import OUTSIDE
from dtn_jax.errors import UserError, listed
from dtn_jax.schema import ALL, MEAN, RESERVED

YEAR = 365 * times.DAY
WEEKS = 28  # days: a log of fewer tells too little about its weekdays
WRITTEN = (  # 2026030112, and with minutes and seconds: no unit, though it looks like seconds
    r"^(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])([0-5]\d){0,2}$"
)
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= dict.fromkeys(("validation", "valid", "val", "dev", "eval"), "validation")
ROOM = 2.0  # a regression's range reaches so many times beyond the sample's, for rows not seen
LEAST = 20  # rows with a label, to say where it lies
CHANCE = 10.0  # of them, those that would be elsewhere if the labels had nothing to do with it


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


def tasks(
    columns: Mapping[str, Column], given: Sequence[str], taken: set[str], fields: set[str]
) -> list[TaskDraft]:
    """The tasks of a log.

    Args:
      columns: {name: column} of single values.
      given: --labels; empty: labels are guessed.
      taken: columns that are the time, the group or the split.
      fields: names that no task may have.

    Raises:
      UserError: a given label is none, or nothing can be guessed.
    """
    free = {name: c for name, c in columns.items() if name not in taken}
    chosen = list(dict.fromkeys(given)) or _guesses(free)
    if not chosen:
        raise UserError(_none_found(free, columns))
    found: list[TaskDraft] = []
    for name in chosen:
        problem = "the column is the time, the group or the split as well" * (name in taken)
        problem = problem or why_none(columns[name])
        if problem:
            raise UserError(f"--labels={name}: {problem}")
        others = (fields - {name}) | {task.name for task in found}
        found.append(_task(columns[name], _task_name(name, others), guessed=not given))
    return found


def _guesses(columns: Mapping[str, Column]) -> list[str]:
    """The columns that are labels by their names and values.

    Columns of 0 and 1 named click, order, like, label, …, and numbers named watch_seconds, rating,
    …; where there are none of the first, columns of 0 and 1 named is_….
    """
    free = [c for c in columns.values() if c.kind != "text" and not why_none(c)]
    binary = [c.name for c in free if c.is_binary and c.distinct > 1]
    found = {name for name in binary if names.is_outcome(name)}
    found = found or {name for name in binary if names.is_yes_or_no(name)}
    found |= {c.name for c in free if c.distinct > 2 and names.is_value(c.name)}
    return [name for name in columns if name in found]


def _two_texts(column: Column) -> tuple[str, ...]:
    """The two texts of a column that has no others, the rarer one last; else ()."""
    if column.kind != "text" or column.distinct != 2 or not expression(column.name):
        return ()
    common, rare = column.common(2)
    return () if "'" in rare or len(rare) > 100 or not rare.isprintable() else (common, rare)


def why_none(column: Column) -> str:
    """Why a column is no label; '' where it is one."""
    if not column.known:
        return "its values are all missing"
    if _two_texts(column):
        return ""
    if column.kind not in ("number", "truth"):
        value = column.common(1)[0]
        told = f"it holds {column.values.dtype}, such as {shown(value)}; expected 0 and 1, "
        told += "false and true, or numbers"
        if column.kind == "text":
            told += (
                ". In a schema file a label may be an expression: write one with other labels, and "
                f"add a task such as {{label: {expression(column.name)} == '{value}'}}"
            )
        return told
    if column.infinite > FEW:
        return f"{percent(column.infinite)} of its values are infinite, and rows would be rejected"
    if column.distinct == 1 and not column.is_binary:
        return f"it is always {shown(column.different[0])}"
    if column.missing and not expression(column.name):
        return "some values are missing, and no expression can read a name with a backquote"
    return ""


def _task(column: Column, name: str, guessed: bool) -> TaskDraft:
    read = expression(column.name)
    task = TaskDraft(name, guessed=guessed, column=column.name)
    missing = f"; {percent(column.missing)} missing" if column.missing else ""
    label, binary = "" if name == column.name else read, column.is_binary
    if texts := _two_texts(column) or (column.distinct == 2 and not binary and read):
        least, most = texts if column.kind == "text" else sorted(column.different)
        is_most = (column.different == most).to_numpy().astype(np.float64)
        task.values = np.append(is_most, np.nan)[column.codes]
        label = f"{read} == '{most}'" if column.kind == "text" else f"{read} == {most!r}"
        which = "latter" if column.kind == "text" else "larger"
        task.notes.append(f"its values are {shown(least)} and {shown(most)}: the {which} is 1")
    else:
        task.values = column.numbers
    if not texts and not binary:
        label = _regression(task, column, read) or label
        task.facts += missing
    elif column.values.dtype != column.raw.dtype and column.kind == "truth" and read:
        label = f"{read} == true"  # texts in any mixture of small and large letters
    elif column.kind == "number" and column.distinct > 2:
        strays = column.strays
        other = column.different[int(np.argmax(np.where(strays, column.counts, 0)))]
        task.values = np.where(np.isin(task.values, [0, 1]), task.values, np.nan)
        rate = column.counts[strays].sum() / column.known
        task.notes.append(
            f"{percent(float(rate))} of its values are neither 0 nor 1, such as {shown(other)}: "
            f"bad rows, unless you say what they mean, as in label: {read or column.name} >= 1"
        )
    if task.binary:
        known = max(int((~np.isnan(task.values)).sum()), 1)
        task.facts = f"{percent(task.positives / known)} positive{missing}"
        if task.positives in (0, known):
            task.notes.append("every label in the sample is the same: there is nothing to learn")
    if label:
        task.options["label"] = quoted(label, FORMULA)
    if column.missing:
        task.options["known"] = quoted(f"not missing({read})", FORMULA)
    return task


def _regression(task: TaskDraft, column: Column, read: str) -> str:
    """Makes it a regression; returns its label, where that is not the column itself.

    The range is the sample's own for a few whole numbers, such as ratings; else it leaves ROOM for
    rows that are not in the sample, since a label outside it makes a bad row.
    """
    low, high = column.values.min(), column.values.max()
    least, most = float(low), float(high)
    if not (column.is_whole and column.distinct <= SMALL):
        least = 0.0 if least >= 0 else -_rounded_up(-least * ROOM)
        most = _rounded_up(most * ROOM) if most > 0 else 0.0
    task.options |= {"kind": "regression", "range": [f"{least:g}", f"{most:g}"]}
    none = float((column.values == 0).mean())
    zeros = f", {percent(none)} are 0" if low == 0 and none > 0.05 else ""
    middle = shown(column.values.cast(float).median())
    task.facts = f"{shown(low)} to {shown(high)}, median {middle}{zeros}"
    if not column.is_skewed or not read:
        return ""
    task.notes.append(
        f"skewed, so its logarithm is fitted; as it is: label: {read}, range: [{least:g}, {most:g}]"
    )
    task.options["range"] = ["0", str(math.ceil(math.log1p(most)))]
    return f"log1p({read})"


def _rounded_up(number: float) -> float:
    """To one digit: 4321 is 5000."""
    step = 10.0 ** math.floor(math.log10(number))
    return math.ceil(number / step) * step


def _task_name(column: str, taken: set[str]) -> str:
    """The column's name, but for signs that no task's name may have."""
    name = "".join("_" if sign in RESERVED else sign for sign in column)
    while name in taken or name in (ALL, MEAN):
        name += "_label"
    return name


def _none_found(columns: Mapping[str, Column], every: Mapping[str, Column]) -> str:
    binary = {name for name, c in columns.items() if c.is_binary and c.distinct > 1}
    texts = {name for name, c in columns.items() if _two_texts(c)}
    numbers = {
        name for name, c in columns.items() if c.kind == "number" and c.distinct > 2
    } - binary
    told = "no column is a label by its name (click, order, like, label, …, of 0 and 1; "
    told += "watch_seconds, rating, …, of numbers). Say which are: --labels=NAME,NAME"
    kinds = {"0 and 1": binary, "two texts": texts, "other numbers": numbers}
    for kind, found in kinds.items():
        some = listed(quoted(name) for name in columns if name in found)
        told += f"\ncolumns of {kind}: {some}" if some else ""
    if not binary | texts | numbers:
        told += f"\nNone holds numbers; the columns are: {listed(map(quoted, every))}"
    return told


def arrange(tasks: Sequence[TaskDraft]) -> list[str]:
    """Writes `upstream` and `also_report` of each task: the nearest of the labels around it; and
    says which are around most of its rows only. Returns notes on labels that are the same."""
    overlaps = {t.name: {o.name: n for o in tasks if (n := _overlap(t, o))} for t in tasks}
    around = {
        name: [other for other, (count, outside) in found.items() if outside <= STRAY * count]
        for name, found in overlaps.items()
    }
    positives = {task.name: task.positives for task in tasks}
    for task in tasks:
        what, outer = "" if task.binary else " above 0", around[task.name]
        nearest = [name for name in outer if not any(name in around[other] for other in outer)]
        if nearest:
            listed = [quoted(name) for name in nearest]
            task.options |= {"upstream": listed, "also_report": listed}
            counts = " and ".join(f"{name} ({positives[name]:,})" for name in nearest)
            outside = sum(overlaps[task.name][name][1] for name in nearest)
            but = f" but for {outside:,}" if outside else ""
            task.notes.append(f"{task.positives:,} rows{what}, all{but} among those of {counts}")
        for other, (count, outside) in overlaps[task.name].items():
            if other not in outer:
                limit = f"; prepare allows {100 * OUTSIDE:g} %, or what positives_outside says"
                task.notes.append(
                    f"{outside:,} of {count:,} rows{what} ({percent(outside / count)}) are where "
                    f"{other} is 0, so it has no upstream: [{quoted(other)}] here"
                    f"{limit if task.binary else ''}"
                )
    return [
        f"the labels of {other.name} and {task.name} are the same in all rows"
        for n, task in enumerate(tasks)
        for other in tasks[:n]
        if np.array_equal(task.values, other.values, equal_nan=True)
    ]


def _overlap(inner: TaskDraft, outer: TaskDraft) -> tuple[int, int] | None:
    """Rows where a label happens (a regression where it is above 0), and those of them where
    `outer` is 0; None where these are not much fewer than by chance, or there are too few."""
    if inner is outer or not outer.binary:
        return None
    if not inner.binary and (np.nanmin(inner.values) < 0 or (inner.values != 0).all()):
        return None
    known = ~np.isnan(inner.values) & ~np.isnan(outer.values)
    happens, around = inner.values[known] > 0, outer.values[known] == 1
    count, outside = int(happens.sum()), int((happens & ~around).sum())
    if count < LEAST or (inner.binary and count >= around.sum()):
        return None
    by_chance = count * float(1 - around.mean())
    return (count, outside) if CHANCE <= by_chance >= 2 * outside <= count else None
