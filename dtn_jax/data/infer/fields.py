"""The field that a column can be, by its type, its values and its name; and what is suspect.

A column that tells a label too well is the label in disguise, or known only after the fact. Such
leaks are those of `describe.leaks`: one half of the sample is fitted, the other scored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from dtn_jax.data import progress
from dtn_jax.data.describe import leaks
from dtn_jax.data.describe.leaks import KNOWN, VALUE, Label, Values
from dtn_jax.data.infer import names
from dtn_jax.data.infer.sample import FEW, Column, percent, shown

SMALL = 20  # different values: so few are categories, whatever the numbers mean
UNIQUE = 0.95  # different values by known ones
UNIQUE_ROWS = 200  # with fewer rows, nothing is called nearly unique
RARE = (10, 5, 2)  # the values of min_count that are tried
LOST = 0.1  # share of the rows whose values min_count may make unknown
PLACE = "unknown when a row is scored: see scored_as in the help"
TEXTS_OF_LISTS = r"\||^\[.*\]$"  # red|blue, ['red', 'blue']
A_LIST = "lists as texts? A bag needs a column of lists, as Parquet and JSON lines have"
KEPT = 50  # values that a bag keeps unless its options say another number
TIMES = "no categories: train has no times of test; value: number(t) - number(NAME) is a field"
READ = (
    "2026-03-01, 2026-03-01 00:03, 2026-03-01T00:03:16.25Z, or numbers of seconds or ms since 1970"
)
NO_FIELD = "numbers, no ids; a vector has one length and no gaps; or weights: NAME in a bag?"


@dataclasses.dataclass
class Entry:
    """A column and what becomes of it: a field, a task, or none.

    Attributes:
      name: of the field, the task or the column.
      options: {key: value}, the values ready for YAML.
      facts: what the sample shows of it, in a line.
      notes: what to know more, each in a line.
      reason: why it is left out; '' where it is not.
      suspect: whether the reason is one to look at: a leak, not a matter of course.
    """

    name: str = ""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    facts: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)
    reason: str = ""
    suspect: bool = False


def draft(columns: Mapping[str, Column], labels: Sequence[Label], whole: bool) -> list[Entry]:
    """The fields, and the columns that are left out, in the order of the columns.

    Args:
      columns: those that may be fields.
      labels: to look for leaks of; and of events, by their names, that are no labels.
      whole: whether the sample is the whole log.
    """
    missed = [halves(c.name, c.numbers, True) for c in columns.values() if is_event(c)]
    able = [label for label in (*labels, *missed) if label.enough]
    entries: list[Entry] = []
    with progress.Rows() as bars:
        for c in bars.count(columns.values(), "columns", len(columns), lambda _: 1, "columns"):
            kind = kind_of(c)
            others = [label for label in able if label.key != c.name]
            notes = [PLACE] * names.is_place(c.name) + [A_LIST] * has_lists(c) + around(c, others)
            field = Entry(c.name, options(c, kind), facts(c, kind), notes)
            usual, odd = usual_reason(c, kind, whole), suspicion(c, others)
            odd = unread_time(c) or odd or outcome(c)
            field.reason, field.suspect = odd or usual, bool(odd)
            entries.append(field)
    return entries


def has_lists(c: Column) -> bool:
    """Whether texts look like lists; not all do, since a list may have one value."""
    if c.kind != "text" or c.is_list or not c.known:
        return False
    return bool(c.different.head(1000).str.contains(TEXTS_OF_LISTS).mean() > 0.1)


def kind_of(c: Column) -> str:
    """categorical, numeric, bag or vector; '' of lists of numbers that are none."""
    if not c.is_list:
        return "numeric" if is_numeric(c) else "categorical"
    if not c.is_fraction:
        return "" if names.has(names.singular(c.name), "weights") else "bag"
    return "vector" if c.length and c.is_finite else ""


def is_numeric(c: Column) -> bool:
    """Whether numbers are quantities, not names of things.

    Fractions are. Whole numbers with more than SMALL different values are where the name says so
    (price, count, *_ms), where there are negative and positive ones in a moderate range, and where
    a column of floats has no missing value: pandas makes floats of ids only where some are missing.
    """
    if c.kind != "number" or c.distinct <= 1:
        return False
    is_id = names.is_id(c.name)
    if c.is_fraction:
        return c.raw.dtype != pl.String or not is_id  # version '1.1' is none
    if c.distinct <= SMALL or is_id:
        return False
    least, most = c.values.min(), c.values.max()
    if names.is_quantity(c.name) or (least < 0 < most and max(-least, most) < 1e9):
        return True
    return c.raw.dtype.is_float() and not c.missing and not names.is_entity(c.name)


def options(c: Column, kind: str) -> dict[str, Any]:
    """The field's keys."""
    keys = {
        "kind": kind if kind != "categorical" else "",
        "log": "true" if kind == "numeric" and c.is_skewed else "",
        "length": c.length if kind == "vector" else 0,
        "min_count": min_count(c) if kind in ("categorical", "bag") else 0,
        "max_values": KEPT if kind == "bag" and c.lengths.max() > KEPT else 0,
    }
    return {key: value for key, value in keys.items() if value}


def min_count(c: Column) -> int:
    """How often train must show a value for a row of the table; 0 is once.

    The largest of RARE for which more than half of the different values come less often in the
    sample while at most LOST of the rows have them; 2 where more than half come only once; once
    where there are at most 100 values.
    """
    if c.distinct <= 100:
        return 0
    for least in RARE:
        rare = c.counts < least
        if rare.mean() > 0.5 and c.counts[rare].sum() <= LOST * c.known:
            return least
    return 2 if (c.counts < 2).mean() > 0.5 else 0


def facts(c: Column, kind: str) -> str:
    """'4,998 different, most often 17, 4, 23; 3 % missing', '0.37 to 1,322, median 20.1', or 'lists
    of up to 5, median 2; 30 different: …'."""
    parts = []
    if c.is_list and (known := c.lengths[c.lengths >= 0]).size:
        parts = [f"lists of up to {known.max():,}, median {np.median(known):.0f}"]
    if kind == "numeric":
        known = c.values.cast(pl.Float64).drop_nulls()
        parts = [f"{shown(known.min())} to {shown(known.max())}, median {shown(known.median())}"]
    elif c.distinct and not (c.is_list and c.is_fraction):
        most = ", most often " if c.distinct > 3 else ": "
        parts += [f"{c.distinct:,} different{most}{c.common()}"]
    return "; ".join([*parts, *([f"{percent(c.missing)} missing"] if c.missing else [])])


def usual_reason(c: Column, kind: str, whole: bool) -> str:
    """The first matter of course for which a column is left out; '' where there is none."""
    # As many users as rows of a sample say nothing.
    few = c.known < UNIQUE_ROWS or (names.is_entity(c.name) and not whole)
    unique = kind == "categorical" and not few and c.distinct > UNIQUE * c.known
    rules = (
        (not c.distinct, "no list has a value" if c.is_list else "always missing"),
        (not kind, NO_FIELD),
        (c.is_list, ""),
        (c.distinct == 1 and not c.missing, f"constant: always {c.common()}"),
        (c.values.dtype == pl.Duration, "spans of time: write them as numbers of seconds"),
        (is_time(c), TIMES),
        (c.infinite > FEW, f"{percent(c.infinite)} of it is infinite: such rows are rejected"),
        (unique, f"nearly unique: {c.distinct:,} different values in {c.known:,} rows"),
    )
    return next((why for holds, why in rules if holds), "")


def is_time(c: Column) -> bool:
    """Whether a column holds times, by its type, or by its numbers and its name."""
    if c.unit == "date":
        return True
    return (c.unit not in ("", "number") or c.is_written) and names.time_rank(c.name) is not None


def unread_time(c: Column) -> str:
    """Why texts are times that cannot be read, by digits and the column's name; '' where they are
    not."""
    named = c.kind == "text" and c.known and not (c.is_list or c.unit) and names.time_rank(c.name)
    if not named or c.different.head(1000).str.contains(r"\d").mean() <= 0.5:
        return ""
    return f"no field, and no time to split by: {unread(c)}"


def unread(c: Column) -> str:
    """An example of a value that is no time, and the forms that are."""
    return f"times such as {shown(c.unread.first())} cannot be read; these can: {READ}"


def is_event(c: Column) -> bool:
    """Whether a column of 0 and 1 is what happens once a row was shown, by its name."""
    return not c.is_list and c.is_binary and c.distinct > 1 and names.is_outcome(c.name)


def outcome(c: Column) -> str:
    """Why a column is what happens once a row was shown, by its name; '' where it is not."""
    number = not c.is_list and c.kind == "number" and c.distinct > 2 and names.is_value(c.name)
    reason = "an outcome by its name, and none of --labels: it is not known when a row is shown"
    return reason if is_event(c) or number else ""


# Leaks.


def halves(name: str, values: np.ndarray, binary: bool) -> Label:
    """A label to be told, by the halves of the sample; of a regression, whether it is above its
    median. Where it is not known, it is NaN."""
    half = np.random.default_rng(0).random(len(values)) < 0.5
    known = ~np.isnan(values)
    middle = 0 if binary or not known.any() else np.median(values[known])
    sides = tuple(np.flatnonzero(known & side) for side in (half, ~half))
    return Label(name, sides, values > middle)


def suspicion(c: Column, able: Sequence[Label]) -> str:
    """Why a column is suspect: it tells one of the labels that are `able` to be told too well, by
    its values, or by whether it has one. Lists are told by the latter alone; `prepare --describe`
    looks at their values."""
    there = c.lengths > 0 if c.is_list else c.codes >= 0
    columns = [Values(KNOWN, there[:, None].astype(np.int8))]
    if not c.is_list:
        columns.append(Values(VALUE, c.codes[:, None]))
        if c.kind == "number":
            columns.append(Values(VALUE, leaks.in_buckets(np.nan_to_num(c.numbers), there)))
    figures = [figure for figure in leaks.alone(c.name, columns, able) if figure.suspect]
    best = max(figures, key=lambda figure: (figure.by == KNOWN, figure.auc), default=None)
    if best is None:
        return ""
    if best.by != KNOWN and best.only:
        value = shown(c.different[int(c.counts.argmin())])
        return (
            f"it looks like a label, since it is {value} only where {best.label} is 1: add it to "
            "--labels, or leave it out"
        )
    if best.by != KNOWN:
        return f"a label in disguise? Alone it has AUC {best.auc:.4f} on {best.label}"
    label = next(label for label in able if label.key == best.label)
    rows = np.concatenate(label.rows)
    ones, gone = label.ones[rows], ~there[rows]
    return (
        f"known only after the fact? It is {'empty or ' * c.is_list}missing in "
        f"{percent(float(gone[ones].mean()))} of the rows with {best.label}, and in "
        f"{percent(float(gone[~ones].mean()))} of the others: AUC {best.auc:.4f}"
    )


def around(c: Column, able: Sequence[Label]) -> list[str]:
    """A note for each label that is 1 only where the column is, as a click is around orders."""
    notes = []
    for label in able if c.is_binary and not c.is_list else ():
        rows = np.concatenate(label.rows)
        if leaks.within(label.ones[rows], c.numbers[rows] == 1):
            notes.append(
                f"{label.key} is 1 only where this is: if it is not known when a row is shown, add "
                "it to --labels, or drop it"
            )
    return notes
