"""What columns say of rows: the labels, the time, the group, the split; given, or guessed by names
and values. And which label lies in which.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from dtn_jax.data import times
from dtn_jax.data.describe.leaks import CHANCE
from dtn_jax.data.infer import names
from dtn_jax.data.infer.fields import SMALL, Entry, is_time, unread
from dtn_jax.data.infer.names import FORMULA, expression, quoted
from dtn_jax.data.infer.sample import FEW, STRAY, Column, percent, shown
from dtn_jax.data.schemas.spec import OUTSIDE
from dtn_jax.data.stages.counts import far
from dtn_jax.errors import UserError, listed
from dtn_jax.schema import ALL, MEAN, RESERVED
from dtn_jax.shapes import Float64

GUESSED = "guessed; "
ROOM = 2.0  # a regression's range reaches so many times beyond the sample's, for rows not seen
LEAST = 20  # rows with a label, to say where it lies


@dataclasses.dataclass
class Task(Entry):
    """A task.

    Attributes:
      column: of its label.
      values: the label in each row of the sample, NaN where it is not known.
    """

    column: str = ""
    values: Float64[np.ndarray, " R"] | None = None

    @property
    def binary(self) -> bool:
        return self.options.get("kind") != "regression"

    @property
    def positives(self) -> int:
        """Rows with the label 1, or of a regression above 0."""
        return int((self.values > 0).sum())


def time(columns: Mapping[str, Column], given: str) -> Entry:
    """The time column: `given`, or the likeliest of {name: column} of single values.

    Raises:
      UserError: some values of the given one are no times.
    """
    ranks = {name: rank for name, c in columns.items() if (rank := _rank(c))}
    c = columns.get(given or min(ranks, key=ranks.__getitem__, default=""))
    if c is None:
        return Entry(facts="a time, when a row was logged, is for a split by it, and for hour(t)")
    unit, seen = c.unit or times.unit_of(c.raw), c.moments
    example = "" if c.unread.is_empty() else unread(c)
    _refuse_missing(f"--time={given}", seen.null_count() / max(len(seen), 1), example)
    facts = f"{GUESSED * (not given)}{_moment(seen.min(), unit)} to {_moment(seen.max(), unit)}"
    entry = Entry(c.name, {} if times.is_date(c.raw.dtype) else {"unit": unit}, facts)
    if c.is_written:
        entry.notes.append(
            f"do numbers such as {c.different[0]} mean a date and an hour? They are plain numbers "
            "here, in their order; texts such as 2026-03-01 12:00 would be times"
        )
    if unit != "number":
        entry.notes += far(c.name, dict((seen // times.DAY).value_counts().drop_nulls().rows()))
    return entry


def _refuse_missing(given: str, missing: float, example: str = "") -> None:
    """Raises UserError where more than a few values of the column of an option are missing."""
    if missing > FEW:
        problem = f"{given}: in {percent(missing)} of the rows it is missing or unreadable"
        raise UserError(f"{problem}; {example}" if example else problem)


def _rank(c: Column) -> tuple | None:
    """The smallest is the likeliest time column, by its name; None is none."""
    if not is_time(c) or c.distinct < 3 or c.moments.null_count() > FEW * len(c.moments):
        return None
    return names.time_rank(c.name) or (False, len(names.TIMES) + 1)


def _moment(value: int, unit: str = "date") -> str:
    """A time to the second."""
    return times.show(value if unit == "number" else value // times.SECOND * times.SECOND, unit)


def hour(event: Column | None) -> list[Entry]:
    """The hour of the time column as a field, where it has several."""
    if event is None or event.unit in ("", "number") or not (read := expression(event.name)):
        return []
    several = event.moments.cast(pl.Datetime("us")).dt.hour().n_unique() > 1
    value = quoted(f"hour({read})", FORMULA)
    return [Entry("hour", {"value": value}, "0 to 23, UTC")] * several


def group(columns: Mapping[str, Column], given: str) -> Entry:
    """The column of the users or sessions: `given`, or the likeliest of {name: column}.

    Raises:
      UserError: some values of the given one are missing.
    """
    full = [n for n, c in columns.items() if not c.missing and 1 < c.distinct < c.known]
    ranks = {name: names.user_rank(name) for name in full if names.user_rank(name) >= 0}
    c = columns.get(given or min(ranks, key=ranks.__getitem__, default=""))
    if c is None:
        return Entry(facts="a user's or session's rows: for metrics within groups")
    _refuse_missing(f"--group={given}", c.missing)
    facts = f"{c.distinct:,} groups, of {c.known / max(c.distinct, 1):.3g} rows on average"
    return Entry(c.name, facts=GUESSED * (not given) + facts)


def split(event: Column | None, group: str) -> tuple[str, str]:
    """By what rows are split, and why."""
    if event is None:
        return "random", "no time column is known" + "; or by: group" * bool(group)
    if event.moments.n_unique() < 3:
        return "random", f"{event.name} has too few times to split by"
    return "time", "the last rows by time; or dates such as 2026-03-05"


def tasks(
    columns: Mapping[str, Column], given: Sequence[str], taken: set[str], fields: set[str]
) -> list[Task]:
    """The tasks of a log.

    Args:
      columns: {name: column} of single values.
      given: --labels; empty: labels are guessed.
      taken: columns that are the time or the group.
      fields: names that no task may have.

    Raises:
      UserError: a given label is none, or nothing can be guessed.
    """
    free = {name: c for name, c in columns.items() if name not in taken}
    chosen = list(dict.fromkeys(given)) or _guesses(free)
    if not chosen:
        rising = sorted(free.values(), key=lambda c: c.distinct)
        able = listed(quoted(c.name) for c in rising if not why_none(c))
        raise UserError(
            "no column is a label by its name (click, order, …, of 0 and 1; watch_seconds, rating, "
            f"…, of numbers). Say which are: --labels=NAME,NAME, of {able or 'no column'}"
        )
    drafted: list[Task] = []
    for name in chosen:
        used = "the column is the time or the group as well" * (name in taken)
        if problem := used or why_none(columns[name]):
            raise UserError(f"--labels={name}: {problem}")
        others = (fields - {name}) | {task.name for task in drafted}
        drafted.append(_task(columns[name], _task_name(name, others)))
        drafted[-1].facts = GUESSED * (not given) + drafted[-1].facts
    return drafted


def _guesses(columns: Mapping[str, Column]) -> list[str]:
    """The columns that are labels by their names and values.

    Columns of 0 and 1 named click, order, like, label, …, and numbers named watch_seconds, rating,
    …; where there are none of the first, columns of 0 and 1 named is_….
    """
    free = [c for c in columns.values() if not why_none(c)]
    binary = [c.name for c in free if c.is_binary and c.distinct > 1]
    labels = {name for name in binary if names.is_outcome(name)}
    labels = labels or {name for name in binary if names.words(name)[:1] == ["is"]}
    labels |= {c.name for c in free if c.distinct > 2 and names.is_value(c.name)}
    return [name for name in columns if name in labels]


def why_none(c: Column) -> str:
    """Why a column is no label; '' where it is one."""
    value, read = c.common(1), expression(c.name)
    what = f"it holds {c.values.dtype}, such as {value}; expected 0 and 1, or numbers"
    literal = f"'{value}'" if c.kind == "text" else value
    other = c.kind == "text" or (c.kind == "number" and c.distinct == 2 and not c.is_binary)
    odd = [v for v in c.different.to_list() if v not in ("0", "1")] if c.kind == "text" else []
    mixed = 0 < len(odd) < c.distinct
    examples = ", ".join(map(shown, odd[:3]))
    rules = (
        (not c.known, "its values are all missing"),
        (mixed, f"beside 0 and 1 it holds {examples}: correct these rows of the log"),
        (other, f"{what}. With others, a task may be {{label: {read} == {literal}}}"),
        (c.kind not in ("number", "truth"), what),
        (c.infinite > FEW, f"{percent(c.infinite)} of its values are infinite: such rows are bad"),
        (c.distinct == 1 and not c.is_binary, f"it is always {value}"),
        (c.missing and not read, "values are missing, and no expression reads a name with `"),
    )
    return next((why for holds, why in rules if holds), "")


def _task(c: Column, name: str) -> Task:
    read = expression(c.name)
    task = Task(name, column=c.name, values=c.numbers)
    label = "" if name == c.name else read
    if not c.is_binary:
        label = _regression(task, c, read) or label
    else:
        task.facts = f"{percent(task.positives / c.known)} positive"
        if c.kind == "truth" and c.raw.dtype == pl.String and read:
            label = f"{read} == true"  # texts in any mixture of small and large letters
    if label:
        task.options["label"] = quoted(label, FORMULA)
    if c.missing:
        task.facts += f"; {percent(c.missing)} missing"
        task.options["known"] = quoted(f"not missing({read})", FORMULA)
    return task


def _regression(task: Task, column: Column, read: str) -> str:
    """Makes it a regression; returns its label, where that is not the column itself.

    The range is the sample's own for a few whole numbers, such as ratings; else it leaves ROOM for
    rows that are not in the sample, since a label outside it makes a bad row.
    """
    low, high = float(column.values.min()), float(column.values.max())
    least, most = low, high
    if not (column.is_whole and column.distinct <= SMALL):
        least, most = 0 - _rounded_up(-low * ROOM), _rounded_up(high * ROOM)
    task.options |= {"kind": "regression", "range": [f"{least:g}", f"{most:g}"]}
    middle = float(column.values.cast(float).median())
    task.facts = f"{shown(low)} to {shown(high)}, median {shown(middle)}"
    if not column.is_skewed or not read:
        return ""
    task.notes.append("skewed, so its logarithm is fitted")
    task.options["range"] = ["0", str(math.ceil(math.log1p(most)))]
    return f"log1p({read})"


def _rounded_up(number: float) -> float:
    """To one digit: 4321 is 5000; a negative one to 0."""
    step = 10.0 ** math.floor(math.log10(number)) if number > 0 else 1.0
    return max(math.ceil(number / step) * step, 0.0)


def _task_name(column: str, taken: set[str]) -> str:
    """The column's name, but for signs that no task's name may have."""
    name = re.sub(f"[{re.escape(RESERVED)}]", "_", column)
    while name in (*taken, ALL, MEAN):
        name += "_label"
    return name


def arrange(tasks: Sequence[Task]) -> None:
    """Writes `upstream` of each task, the rarest of the labels around it, and `also_report`, but of
    a regression, whose prediction is the same in each space; and says which are around most of its
    rows only."""
    for task in tasks:
        above = "" if task.binary else " above 0"
        overlaps = [(other, *rows) for other in tasks if (rows := _overlap(task, other))]
        around = [other for other, count, outside in overlaps if outside <= STRAY * count]
        nearest = min(around, key=lambda other: other.positives, default=None)
        if nearest:
            name = [quoted(nearest.name)]
            task.options |= {"upstream": name} | ({"also_report": name} if task.binary else {})
        for other, count, outside in overlaps:
            share = f"{count - outside:,} of {count:,} rows{above} are among those of {other.name}"
            if other is nearest:
                task.notes.append(f"{share} ({other.positives:,})")
            elif other not in around:
                most = f"prepare allows {100 * OUTSIDE:g} %, or what positives_outside says"
                task.notes.append(f"{share}: too few for upstream: [{quoted(other.name)}]; {most}")


def _overlap(inner: Task, outer: Task) -> tuple[int, int] | None:
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
