"""The field that a column can be, by its type, its values and its name; and what is suspect.

A column that tells a label too well is the label in disguise, or known only after the fact. Such
leaks are those of `describe.leaks`: one half of the sample is fitted, the other scored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from dtn_jax.data import progress, times
from dtn_jax.data.describe import leaks
from dtn_jax.data.describe.leaks import FEWEST, KNOWN, Label, Values
from dtn_jax.data.infer import names
from dtn_jax.data.infer.names import quoted
from dtn_jax.data.infer.sample import FEW, NUMBER, Column, percent, shown
from dtn_jax.shapes import Bool

SMALL = 20  # different values: so few are categories, whatever the numbers mean
UNIQUE = 0.95  # different values by known ones
UNIQUE_ROWS = 200  # with fewer rows, nothing is called nearly unique
RARE = (10, 5, 2)  # the values of min_count that are tried
LOST = 0.1  # share of the rows whose values min_count may make unknown
KEPT = 50  # values that a bag keeps unless its options say another number
TIMES = "no categories: train has no times of test; value: number(t) - number(NAME) is a field"
READ = (
    "2026-03-01, 2026-03-01 00:03, 2026-03-01T00:03:16.25Z, or numbers of seconds or ms since 1970"
)
NO_FIELD = "numbers, no ids; a vector has one length and no gaps; or weights: NAME in a bag?"
LISTED = r"^[\[{]|^\S*[|;,]\S*$"  # of a text
COPIES = 0.9  # different values by rows: more say nothing of copies
GRACE = 60 * times.SECOND  # nearer times are of the same moment
LATER = 0.5  # share of the rows in which a time is later than the event's
ALONE, LENGTH, BAG = "Alone it has", "The lengths of its lists alone have", "Its values alone have"
ENTRY, SUMS = "The entry [{}] of its vectors alone has", "The sums of its lists alone have"


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


def draft(
    columns: Mapping[str, Column], labels: Sequence[Label], whole: bool, event: Column | None
) -> list[Entry]:
    """The fields, and the columns that are left out, in the order of the columns.

    Args:
      columns: those that may be fields.
      labels: to look for leaks of.
      whole: whether the sample is the whole log.
      event: the time column, if there is one.
    """
    able = [label for label in labels if label.enough]
    entries: list[Entry] = []
    first: dict[int, str] = {}  # {values by row: their first column}
    with progress.Rows() as bars:
        for c in bars.count(columns.values(), "columns", len(columns), lambda _: 1, "columns"):
            kind = kind_of(c)
            field = Entry(c.name, options(c, kind), facts(c, kind), notes(c, kind))
            usual, odd = usual_reason(c, kind, whole), suspicion(c, kind, able)
            if odd and names.is_entity(c.name) and names.is_id(c.name) and not c.missing:
                field.notes.append(f"{odd}; a label that is a property of {c.name}?")
                odd = ""
            odd = unread_time(c) or odd or outcome(c) or later(c, event)
            if kind == "categorical" and not usual + odd and c.distinct <= COPIES * c.known:
                twin = first.setdefault(hash(c.codes.tobytes()), c.name)
                odd = f"it tells what {twin} does, value for value" * (twin != c.name)
            field.reason, field.suspect = odd or usual, bool(odd)
            entries.append(field)
    # Numbers in lists that are as long as a bag's in every row are the bag's weights.
    for field in [f for f in entries if f.reason == NO_FIELD and columns[f.name].is_finite]:
        own, lengths = names.singular(field.name), columns[field.name].lengths
        bags = [f for f in entries if f.options.get("kind") == "bag" and "weights" not in f.options]
        bags = [f for f in bags if np.array_equal(columns[f.name].lengths, lengths)]
        if bags:
            bag = max(bags, key=lambda f: len(own & names.singular(f.name)))
            bag.options["weights"], field.reason = quoted(field.name), f"the weights of {bag.name}"
    return entries


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


def notes(c: Column, kind: str) -> list[str]:
    """What to know of a field, each in a line."""
    cut = float((c.lengths > KEPT).mean()) if kind == "bag" else 0
    rules = [
        (names.is_place(c.name), "unknown when a row is scored: see scored_as in the help"),
        (names.words(c.name)[:1] == ["is"], "if only known later, it is a label or a leak"),
        (cut, f"max_values cuts {percent(cut)} of the lists"),
    ]
    if kind == "categorical" and c.kind == "text" and c.distinct:
        texts = c.different.head(1000)
        number, lists = texts.str.contains(NUMBER), texts.str.contains(LISTED)
        other = shown(texts.filter(~number).first())
        rules += [
            (0.9 <= number.mean() < 1, f"numbers but for some values, such as {other}"),
            (lists.mean() > 0.5, "looks like lists: a list column (Parquet, JSON lines) is a bag"),
        ]
    return [note for holds, note in rules if holds]


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
    """Why texts are times that cannot be read, by their form, or by digits and the column's name;
    '' where they are not."""
    named = c.kind == "text" and c.known and not (c.is_list or c.unit) and names.time_rank(c.name)
    if not (c.is_dated or (named and c.different.head(1000).str.contains(r"\d").mean() > 0.5)):
        return ""
    return f"no field, and no time to split by: {unread(c)}"


def unread(c: Column) -> str:
    """An example of a value that is no time, and the forms that are."""
    return f"times such as {shown(c.unread.first())} cannot be read; these can: {READ}"


def outcome(c: Column) -> str:
    """Why a column is what happens once a row was shown, by its name; '' where it is not."""
    binary = c.is_binary and c.distinct > 1 and names.is_outcome(c.name)
    number = c.kind == "number" and c.distinct > 2 and names.is_value(c.name)
    told = "an outcome by its name, and none of --labels: it is not known when a row is shown"
    return told if not c.is_list and (binary or number) else ""


def later(c: Column, event: Column | None) -> str:
    """Why a time is later than the event; '' where it is not."""
    if event is None or not is_time(c) or "number" in (c.unit, event.unit):
        return ""
    # A day is later than the event from the next day on.
    began = event.moments // times.DAY * times.DAY if c.of_days else event.moments
    late = (c.moments > began + GRACE).drop_nulls()
    share = late.mean() if len(late) >= FEWEST else 0
    told = f"known only after the fact? It is later than {event.name} in {percent(share)}"
    return f"{told} of the rows that have it" if share > LATER else ""


# Leaks.


def halves(name: str, values: np.ndarray, binary: bool) -> Label:
    """A label to be told, by the halves of the sample; of a regression, whether it is above its
    median. Where it is not known, it is NaN."""
    half = np.random.default_rng(0).random(len(values)) < 0.5
    known = ~np.isnan(values)
    middle = 0 if binary or not known.any() else np.median(values[known])
    sides = tuple(np.flatnonzero(known & side) for side in (half, ~half))
    return Label(name, sides, values > middle)


def suspicion(c: Column, kind: str, able: Sequence[Label]) -> str:
    """Why a column is suspect: it tells one of the labels that are `able` to be told too well."""
    figures = leaks.alone(c.name, _values(c, kind), able)
    suspects = [figure for figure in figures if figure.suspect]
    by_missing = [figure for figure in suspects if figure.by == KNOWN]
    best = max(by_missing or suspects, key=lambda figure: figure.auc, default=None)
    if best is None:
        return ""
    if best.by != KNOWN:
        by = best.by.format(best.entry)
        return f"a label in disguise? {by} AUC {best.auc:.4f} on {best.key}"
    label = next(label for label in able if label.key == best.key)
    rows = np.concatenate(label.rows)
    ones, gone = label.ones[rows], ~_there(c)[rows]
    return (
        f"known only after the fact? It is {'empty or ' * c.is_list}missing in "
        f"{percent(float(gone[ones].mean()))} of the rows with {best.key}, and in "
        f"{percent(float(gone[~ones].mean()))} of the others: AUC {best.auc:.4f}"
    )


def _values(c: Column, kind: str) -> Iterator[Values]:
    """What a label is told by: whether a value is there, the values, numbers in buckets; of lists,
    how many there are, their values, the entries of vectors, and sums."""
    there = _there(c)
    if there.any() and not there.all():
        yield Values(KNOWN, 2, there[:, None].astype(np.int8))
    if c.is_list and there.any():
        yield Values(LENGTH, int(c.lengths.max()) + 2, c.lengths[:, None] + 1)
    parts = [] if c.is_list else [(ALONE, c, None)]
    if kind == "bag":
        lengths = np.clip(c.lengths, 0, KEPT)  # a field keeps the first KEPT
        items = Column(c.raw.list.head(KEPT).filter(lengths > 0).explode())
        ids = np.full((len(lengths), max(int(lengths.max()), 1)), -1, np.int32)
        ids[np.arange(ids.shape[1]) < lengths[:, None]] = items.codes
        yield Values(BAG, items.distinct, ids)
    elif kind == "vector":
        parts = [(ENTRY, Column(c.raw.list.get(n)), n) for n in range(c.length)]
    elif c.is_list and c.is_finite:  # they may be weights
        parts = [(SUMS, Column(c.raw.list.head(KEPT).list.sum()), None)]
    for by, part, entry in parts:
        if entry is None:
            yield Values(by, part.distinct, part.codes[:, None])
        if part.kind == "number":
            rows, (ids,) = leaks.in_buckets([np.nan_to_num(part.numbers)], [there])
            yield Values(by, rows, ids, entry=entry, numbers=part.numbers)


def _there(c: Column) -> Bool[np.ndarray, " R"]:
    """Where there is a value, or a list with values."""
    return c.lengths > 0 if c.is_list else c.codes >= 0
