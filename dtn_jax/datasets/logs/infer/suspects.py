"""Columns that tell a label too well: the label in disguise, or known only after the fact; and
columns that tell what another one does.

Leaks are those of `dtn_jax.datasets.leaks`: one half of the sample is fitted, the other scored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from dtn_jax.datasets import leaks
from dtn_jax.datasets.leaks import FEWEST, KNOWN, Label, Values
from dtn_jax.datasets.logs import times
from dtn_jax.datasets.logs.infer import names, roles, tasks
from dtn_jax.datasets.logs.infer.columns import Column, column
from dtn_jax.datasets.logs.infer.draft import FieldDraft, TaskDraft, percent, shown
from dtn_jax.datasets.logs.infer.fields import KEPT, TIMES, is_numeric
from dtn_jax.shapes import Bool, Int

UNIQUE = 0.9  # different values by rows: more say nothing of copies
GRACE = 60 * times.SECOND  # nearer times are of the same moment
LATER = 0.5  # share of the rows in which a time is later than the event's
ALONE, LENGTH = "Alone it has", "The lengths of its lists alone have"
BAG = "The values of its lists, {} most of all, alone have"
ENTRY, SUMS = "The entry [{}] of its vectors alone has", "The sums of its lists alone have"


def labels(drafts: Sequence[TaskDraft], rows: int) -> list[Label]:
    """The labels to be told, by the halves of the sample; of a regression, whether it is above its
    median."""
    half = np.random.default_rng(0).random(rows) < 0.5
    found = []
    for task in drafts:
        known = ~np.isnan(task.values)
        middle = 0 if task.binary or not known.any() else np.median(task.values[known])
        sides = tuple(np.flatnonzero(known & side) for side in (half, ~half))
        found.append(Label(task.name, sides, tuple(task.values[s] > middle for s in sides)))
    return found


def leave_out(field: FieldDraft, c: Column, able: Sequence[Label]) -> None:
    """Leaves a column out that tells a label too well, or is an outcome by its name."""
    why = suspicion(c, field.options.get("kind", ""), able)
    if why and names.is_entity(c.name) and names.is_id(c.name) and not c.missing:
        field.notes.append(f"{why}; a label that is a property of {c.name}?")
    elif why:
        field.leave_out(why, suspect=True)
    if c.is_list:
        return
    binary = tasks.is_binary(c)
    if binary and names.is_yes_or_no(c.name):
        field.notes.append("if it happens after a row is shown, it is a label or a leak")
    number = c.kind == "number" and c.distinct > 2 and names.is_value(c.name)
    if (binary and c.distinct > 1 and names.is_outcome(c.name)) or number:
        field.leave_out(
            "an outcome by its name, and none of --labels: what happens after a row was shown "
            "cannot be an input",
            suspect=True,
        )


def suspicion(c: Column, kind: str, able: Sequence[Label]) -> str:
    """Why a column of this kind is suspect; '' where it is not.

    Args:
      c: the column.
      kind: bag or vector; of other lists of numbers, such as weights, the sums are tried.
      able: the labels with enough rows.
    """
    figures = leaks.alone(c.name, _values(c, kind), able)
    if c.is_list and c.is_finite and kind not in ("bag", "vector"):
        sums = column(c.raw.list.head(KEPT).list.sum())
        figures += leaks.alone(c.name, _values(sums, "", SUMS), able)
    by_missing = [figure for figure in figures if figure.by == KNOWN and figure.suspect]
    best = max(by_missing or figures, key=lambda figure: figure.auc, default=None)
    if best is None or not best.suspect:
        return ""
    label = next(label for label in able if label.key == best.key)
    if best.by == KNOWN:
        ones, gone = np.concatenate(label.ones), ~_there(c)[np.concatenate(label.rows)]
        return (
            f"known only after the fact? It is {'empty or ' * c.is_list}missing in "
            f"{percent(float(gone[ones].mean()))} of the rows with {best.key}, and in "
            f"{percent(float(gone[~ones].mean()))} of the others: AUC {best.auc:.4f}"
        )
    what = best.entry
    if best.by == BAG:
        ids, values = _padded(c)
        fit = leaks.fitted(ids[label.rows[0]], label.ones[0], values.distinct)
        more = fit.positives - (fit.positives + fit.negatives) * label.ones[0].mean()
        what = shown(values.different[int(fit.ids[np.where(fit.ids < 0, -1, more).argmax()])])
    return f"a label in disguise? {best.by.format(what)} AUC {best.auc:.4f} on {best.key}"


def _values(c: Column, kind: str, by: str = ALONE) -> Iterator[Values]:
    """What a label is told by: whether a value is there, the values, numbers in buckets."""
    there = _there(c)
    if there.any() and not there.all():
        yield Values(KNOWN, 2, there[:, None].astype(np.int8))
    if not c.is_list:
        yield Values(by, c.distinct, c.codes[:, None])
    elif there.any():
        yield Values(LENGTH, int(c.lengths.max()) + 2, c.lengths[:, None] + 1)
    numbers = []
    if kind == "bag":
        ids, values = _padded(c)
        yield Values(BAG, values.distinct, ids)
    elif kind == "vector":
        numbers = ((n, column(c.raw.list.get(n)).numbers) for n in range(c.length))
    elif c.kind == "number" and not c.is_list:
        numbers = [(None, c.numbers)]
    for entry, x in numbers:
        rows, (ids,) = leaks.in_buckets([np.nan_to_num(x)], [there])
        yield Values(by if entry is None else ENTRY, rows, ids, entry=entry, numbers=x)


def _there(c: Column) -> Bool[np.ndarray, " R"]:
    """Where there is a value, or a list with values."""
    return c.lengths > 0 if c.is_list else c.codes >= 0


def _padded(c: Column) -> tuple[Int[np.ndarray, "R S"], Column]:
    """The first KEPT values of each list, which are those that a field keeps, as ids; and those."""
    lengths = np.clip(c.lengths, 0, KEPT)
    values = column(c.raw.list.head(KEPT).filter(lengths > 0).explode())
    ids = np.full((len(lengths), max(int(lengths.max()), 1)), -1, np.int32)
    ids[np.arange(ids.shape[1]) < lengths[:, None]] = values.codes
    return ids, values


def leave_out_times(
    found: Mapping[str, FieldDraft], columns: Mapping[str, Column], event: Column | None
) -> None:
    """Leaves out times, and says which are later than the event."""
    unit = roles.unit_of(event) if event else ""
    for name, c in columns.items():
        own = roles.unit_of(c)
        typed = times.is_date(c.raw.dtype) or c.kind == "text"
        if not own or (not typed and names.time_rank(name) is None):
            continue
        found[name].leave_out(TIMES)
        if "number" in (own, unit or "number"):
            continue
        seen, began = times.to_time(c.raw, own), times.to_time(event.raw, unit)
        if roles.of_days(c, own):  # a day is later than the event from the next day on
            began = began // times.DAY * times.DAY
        late = (seen > began + GRACE).drop_nulls()
        if len(late) >= FEWEST and late.mean() > LATER:
            found[name].leave_out(
                f"known only after the fact? It is later than {event.name} in "
                f"{percent(late.mean())} of the rows that have it",
                suspect=True,
            )


def leave_out_copies(found: Mapping[str, FieldDraft], columns: Mapping[str, Column]) -> None:
    """Leaves out columns that tell what an earlier field tells.

    Two columns of categories tell the same where each value of one goes with one value of the
    other, and not nearly every row has a value of its own; two of numbers where they put the rows
    into the same order. Of an item, its price tells other things than its id.
    """
    first: dict[tuple, Column] = {}
    for name, c in columns.items():
        numeric = is_numeric(c)
        if found[name].reason or c.distinct <= 1 or (not numeric and c.distinct > UNIQUE * c.known):
            continue
        codes = c.codes
        if numeric:
            codes = np.append(np.argsort(np.argsort(c.different.to_numpy())), -1)[codes]
        digest = hashlib.sha256(np.ascontiguousarray(codes).tobytes()).digest()
        other = first.setdefault((numeric, digest), c)
        if other is not c:
            copy = other.different.cast(pl.String).equals(c.different.cast(pl.String))
            told = "a copy of {}" if copy else "it tells what {} does, value for value"
            found[name].leave_out(told.format(other.name), suspect=True)
