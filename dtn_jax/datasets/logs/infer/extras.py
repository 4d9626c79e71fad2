"""What a draft needs beside fields and tasks: the split, fields made of times, and its checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from dtn_jax.datasets.logs import times
from dtn_jax.datasets.logs.infer.columns import Column
from dtn_jax.datasets.logs.infer.draft import Draft, FieldDraft, Role
from dtn_jax.datasets.logs.infer.sample import Sample
from dtn_jax.datasets.logs.infer.words import expression, formula, quoted
from dtn_jax.errors import UserError, choose

WEEKS = 28  # days: a log of fewer tells too little about its weekdays
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= dict.fromkeys(("validation", "valid", "val", "dev", "eval"), "validation")


def check_given(
    asked: Sequence[tuple[str, str]], sample: Sample, singles: Mapping[str, Column]
) -> None:
    """Raises UserError where a column that was asked for is not there, or cannot be used.

    Args:
      asked: (argument, column or '').
      sample: of the log.
      singles: {name: column} of single values.
    """
    uses: dict[str, str] = {}
    for what, name in asked:
        if not name:
            continue
        if name in sample.refused:
            raise UserError(f"{what}={name}: {sample.refused[name]}")
        choose(f"column in {what}", name, sample.frame.columns)
        if name not in singles:
            raise UserError(f"{what}={name}: it is a column of lists; expected single values")
        if uses.setdefault(name, what) != what:
            raise UserError(f"{what}={name}: the column is {uses[name]} as well")


def split_column(singles: Mapping[str, Column]) -> dict[str, Any]:
    """{column, values} of a column that says each row's split; {} without one."""
    for name, c in singles.items():
        words = (
            {str(v): SPLITS.get(str(v).lower()) for v in c.different}
            if c.is_text and c.distinct <= 6
            else {}
        )
        if set(words.values()) == {"train", "validation", "test"} and not c.missing:
            found: dict[str, list[str]] = {}
            for word, part in sorted(words.items()):
                found.setdefault(str(part), []).append(quoted(word))
            return {"column": name, "values": found}
    return {}


def split(
    when: Role, who: Role, column: dict[str, Any], singles: Mapping[str, Column]
) -> tuple[dict[str, Any], str]:
    """How rows are split, and why."""
    if column:
        values = ", ".join(f"{k}: [{', '.join(v)}]" for k, v in column["values"].items())
        named = {"column": quoted(column["column"]), "values": f"{{{values}}}"}
        return {"by": "column", **named}, "a column says it"
    shares = {"validation": "0.1", "test": "0.1"}
    if when.column:
        c = singles[when.column]
        if times.to_time(c.raw, when.unit or "date").n_unique() >= 3:
            return {"by": "time", **shares}, "the last rows by time; or dates such as 2026-03-05"
        return {"by": "random", **shares}, f"{when.column} has too few times to split by"
    other = "; or by: group, whole groups" if who.column else ""
    return {"by": "random", **shares}, f"no time column is known{other}"


def add_times(draft: Draft, singles: Mapping[str, Column]) -> None:
    """Adds hour and weekday of the time column, and offers those of others in comments."""
    taken = {f.name for f in draft.fields} | {t.name for t in draft.tasks}
    when = draft.time
    if when.column and when.unit != "number":
        read = expression(when.column)
        at = times.to_time(singles[when.column].raw, when.unit or "date").cast(pl.Datetime("us"))
        made = []
        for name, values in (("hour", at.dt.hour()), ("weekday", at.dt.weekday())):
            if read and name not in taken and values.n_unique() > 1:
                what = "0 to 23, UTC" if name == "hour" else "0 is Monday, UTC"
                found = FieldDraft(name, {"value": formula(f"{name}({read})")}, what)
                days = at.dt.date().n_unique()
                if name == "weekday" and days < WEEKS:
                    found.leave_out(f"{days} days in all, too few weeks to tell weekdays from days")
                made.append(found)
        draft.fields[:0] = made
    for place, field in reversed(list(enumerate(draft.fields))):
        column = singles.get(field.name)
        if column is None or not times.is_date(column.raw.dtype) or field.suspect:
            continue
        draft.fields[place + 1 : place + 1] = _offered(column, singles.get(when.column), taken)


def _offered(column: Column, event: Column | None, taken: set[str]) -> list[FieldDraft]:
    """Fields that may be made of a time, left out."""
    read = expression(column.name)
    if not read or not column.distinct:
        return []
    found = []
    if event is not None and times.is_date(event.raw.dtype) and expression(event.name):
        value = formula(f"number({expression(event.name)}) - number({read})")
        options = {"kind": "numeric", "log": "true", "value": value}
        found.append((f"since_{column.name}", options, "seconds from then to the event"))
    at = column.different.cast(pl.Datetime("us"))
    for name, values in (("hour", at.dt.hour()), ("weekday", at.dt.weekday())):
        if values.n_unique() <= 1:
            continue
        options = {"value": formula(f"{name}({read})")}
        found.append((f"{name}_of_{column.name}", options, ""))
    return [
        FieldDraft(name, options, facts, reason="an offer")
        for name, options, facts in found
        if name not in taken
    ]


def check_fields(draft: Draft) -> None:
    """Raises UserError where no field is left."""
    if any(not field.reason for field in draft.fields):
        return
    told = [f"  {quoted(field.name)}: {field.reason}" for field in draft.fields[:50]]
    raise UserError("no column can be a field:\n" + "\n".join(told or ["  there are no others"]))
