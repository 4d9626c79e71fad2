"""A sample to the draft of a schema file: reads like the table of contents."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import polars as pl

from dtn_jax.datasets.logs import times
from dtn_jax.datasets.logs.infer import (
    extras,
    kinds,
    labels,
    list_suspects,
    lists,
    names,
    order_of_tasks,
    roles,
    suspects,
)
from dtn_jax.datasets.logs.infer.columns import Column, column, missing_words, without
from dtn_jax.datasets.logs.infer.draft import Draft, FieldDraft, Role, TaskDraft
from dtn_jax.datasets.logs.infer.lists import ListColumn
from dtn_jax.datasets.logs.infer.sample import Sample
from dtn_jax.datasets.logs.infer.words import percent
from dtn_jax.datasets.preparation import progress


def draft(sample: Sample, given: Sequence[str] = (), time: str = "", group: str = "") -> Draft:
    """What the sample suggests.

    Args:
      sample: of the log.
      given: the labels; empty: they are guessed.
      time, group: columns; '': they are guessed.

    Raises:
      UserError: a given column does not fit, or no label, or no field, is found.
    """
    words = missing_words(sample.frame) if sample.input.format == "csv" else []
    frame = without(sample.frame, words)
    singles = {c.name: column(c) for c in frame if c.dtype != pl.List}
    several = [ListColumn(c) for c in frame if c.dtype == pl.List]
    asked = [("--time", time), ("--group", group), *(("--labels", name) for name in given)]
    extras.check_given(asked, sample, singles)
    when = roles.time(_free(singles, [group, *given]), time)
    who = roles.group(_free(singles, [when.column, *given]), group)
    split = extras.split_column(singles)
    taken = {name for name in (when.column, who.column, split.get("column")) if name}
    tasks = labels.tasks(singles, given, taken, set(frame.columns))
    order_of_tasks.arrange(tasks)
    fields = _fields(sample, singles, several, tasks, when, split.get("column", ""))
    made = Draft(
        fields,
        tasks,
        when,
        who,
        *extras.split(when, who, split, singles),
        dataclasses.replace(sample.input, missing=tuple(words)),
        order_of_tasks.copies(tasks),
    )
    extras.add_times(made, singles)
    if sample.broken:
        share = percent(sample.broken / (sample.frame.height + sample.broken))
        made.notes.append(f"{sample.broken:,} rows of the sample cannot be read ({share})")
    extras.check_fields(made)
    return made


def _free(columns: dict[str, Column], taken: Sequence[str]) -> dict[str, Column]:
    return {name: c for name, c in columns.items() if name not in taken}


def _fields(
    sample: Sample,
    singles: dict[str, Column],
    several: list[ListColumn],
    tasks: list[TaskDraft],
    when: Role,
    split: str,
) -> list[FieldDraft]:
    """The fields in the order of the columns, those of refused columns last."""
    used = {task.column for task in tasks} | {when.column, split}
    inputs = {name: c for name, c in singles.items() if name not in used}
    found = {name: kinds.field(c, sample.whole) for name, c in inputs.items()}
    found |= {made.name: made for made in lists.fields(several, inputs)}
    _suspect(found, inputs, several, tasks, sample.frame.height)
    _times(found, inputs, singles.get(when.column))
    _same(found, inputs)
    for name in filter(names.is_place, inputs):
        found[name].notes.append(
            "where a row is shown is not known when it is scored: scored_as: 1 trains with it and "
            "scores each row as if it stood there; scored_as: null takes the unknown id"
        )
    made = [found[name] for name in sample.frame.columns if name in found]
    for name, reason in sample.refused.items():
        made.append(FieldDraft(name, reason=reason))
    return made


def _suspect(
    found: dict[str, FieldDraft],
    singles: dict[str, Column],
    several: list[ListColumn],
    tasks: list[TaskDraft],
    rows: int,
) -> None:
    """Leaves out what tells a label too well, and what is an outcome by its name."""
    targets = suspects.targets(tasks, rows)
    with progress.Rows() as bars:
        tried = bars.count(singles, "columns", len(singles), rows=lambda _: 1, unit="columns")
        for name in tried:
            _suspect_single(found[name], singles[name], targets)
    for c in several:
        why = list_suspects.suspicion(c, found[c.name].options.get("kind", ""), targets)
        if why:
            _overrule(found[c.name], why)
    lists.drop_weights(found, [c.name for c in several if found[c.name].suspect])


def _suspect_single(made: FieldDraft, c: Column, targets: list[suspects.Target]) -> None:
    if c.distinct <= 1 and not c.missing:
        return
    why = suspects.suspicion(c, targets)
    if why and names.is_entity(c.name) and names.is_id(c.name) and not c.missing:
        made.notes.append(f"{why}; a label that is a property of {c.name}?")
    elif why:
        _overrule(made, why)
    if labels.is_binary(c) and names.is_yes_or_no(c.name):
        made.notes.append("if it happens after a row is shown, it is a label or a leak")
    outcome = labels.is_binary(c) and c.distinct > 1 and names.is_outcome(c.name)
    if outcome or (c.is_number and c.distinct > 2 and names.is_value(c.name)):
        made.leave_out(
            "an outcome by its name, and none of --labels: what happens after a row was shown "
            "cannot be an input",
            suspect=True,
        )


def _overrule(made: FieldDraft, why: str) -> None:
    """A leak matters more than any other reason to leave a column out."""
    made.reason, made.suspect = why, True


def _times(found: dict[str, FieldDraft], singles: dict[str, Column], event: Column | None) -> None:
    """Leaves out times, and says which are later than the event."""
    unit = roles.time_unit(event) if event else ""
    for name, c in singles.items():
        own = roles.time_unit(c)
        typed = times.is_date(c.raw.dtype) or c.is_text
        if not own or (not typed and names.time_rank(name) is None):
            continue
        found[name].leave_out("times are no categories: those of test are never in train")
        if not unit:
            continue
        began = times.to_time(event.raw, unit)
        if roles.of_days(c, own):  # a day is later than the event from the next day on
            began = began // times.DAY * times.DAY
        share = suspects.later(times.to_time(c.raw, own), began)
        if share > suspects.LATER and not found[name].suspect:
            _overrule(
                found[name],
                f"known only after the fact? It is later than {event.name} in {percent(share)} of "
                "the rows that have it",
            )


def _same(found: dict[str, FieldDraft], singles: dict[str, Column]) -> None:
    """Leaves out columns that tell what an earlier field tells."""
    fields = [c for name, c in singles.items() if not found[name].reason]
    for numeric in (False, True):  # of an item, its price tells other things than its id
        alike = [c for c in fields if kinds.is_numeric(c) == numeric]
        for name, (other, very) in suspects.same(alike, numeric).items():
            told = f"a copy of {other}" if very else f"it tells what {other} does, value for value"
            found[name].leave_out(told, suspect=True)


def unexamined(draft: Draft, rows: int) -> list[str]:
    """The tasks that have too few rows of a class to look for columns that tell them."""
    return [t.name for t in suspects.targets(draft.tasks, rows) if not t.enough]
