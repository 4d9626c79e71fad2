"""A draft as the text of a schema file, with comments that say what the sample shows."""

from __future__ import annotations

from collections.abc import Sequence

from dtn_jax.datasets.logs.infer.draft import Draft, FieldDraft, TaskDraft
from dtn_jax.datasets.logs.infer.words import clean, options, quoted
from dtn_jax.datasets.logs.schema.spec import InputSpec

WIDEST = 64  # columns before a comment
OFFER = "an offer"  # the reason of fields that may be made of a time


def schema_text(draft: Draft, name: str, looked: str, help_command: str) -> str:
    """The schema file.

    Args:
      draft: what it says.
      name: of the data set.
      looked: at which rows.
      help_command: what lists all keys.
    """
    lines = [
        "# A schema file: inputs and labels of a model, made of the columns of raw logs.",
        f"# Its comments show what is in {looked}.",
        "# Change what is wrong: a label that is none, an id that was taken for a number, a leak.",
        f"# All keys: {help_command}",
        f"name: {quoted(name)}",
        *_input(draft.input),
        "",
        "# Labels. '# guessed': by the column's name and values; --labels=NAME,NAME says which.",
        "tasks:",
        *_tasks(draft.tasks),
        "",
        "# Inputs. Without options a field is categorical: each of its values has an embedding;",
        "# those that train does not show share one. A numeric field has an embedding for each of",
        "# 32 buckets; with encoder: standardise it is a number, and log makes a difference.",
        "fields:",
        *_fields([field for field in draft.fields if not field.reason]),
        *_left_out([f for f in draft.fields if f.reason and f.reason != OFFER]),
        *_offers([f for f in draft.fields if f.reason == OFFER]),
        "",
        *_rest(draft),
    ]
    return "\n".join(lines) + "\n"


def aligned(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Lines of (text, comment), the comments one below the other; that of a long line is below."""
    short = [len(text) for text, comment in rows if comment and len(text) <= WIDEST]
    width, lines = max(short, default=0), []
    for text, comment in rows:
        if comment and len(text) <= WIDEST:
            lines.append(f"{text:{width}s}  # {comment}")
        else:
            lines += [text, f"    # {comment}"] if comment else [text]
    return lines


def _entry(name: str, given: dict, width: int = 0) -> str:
    key = f"{quoted(name)}:"
    return f"{key:{width}s} {options(given)}" if given else key


def _key_width(names: Sequence[str]) -> int:
    lengths = [len(quoted(name)) + 1 for name in names]
    return max((n for n in lengths if n <= 28), default=0)


def _tasks(tasks: Sequence[TaskDraft]) -> list[str]:
    width, rows = _key_width([task.name for task in tasks]), []
    for task in tasks:
        comment = f"guessed; {task.facts}" if task.guessed else task.facts
        rows.append((f"  {_entry(task.name, task.options, width)}", clean(comment)))
        rows += [(f"    # {clean(note)}", "") for note in task.notes]
    return aligned(rows)


def _fields(fields: Sequence[FieldDraft]) -> list[str]:
    width, rows = _key_width([field.name for field in fields]), []
    for field in fields:
        rows.append((f"  {_entry(field.name, field.options, width)}", clean(field.facts)))
        rows += [(f"    # {clean(note)}", "") for note in field.notes]
    return aligned(rows)


def _left_out(fields: Sequence[FieldDraft]) -> list[str]:
    """As comments; without the '# ' they are fields."""
    if not fields:
        return []
    lines = ["", "  # Left out, each for a reason. Without its '# ' a line is a field again."]
    for field in fields:
        lines.append(f"  # {clean(_entry(field.name, field.options))}")
        lines.append(f"  #     {clean(field.reason)}")
        if field.facts and not field.reason.startswith(("constant", "always", "nearly unique")):
            lines.append(f"  #     {clean(field.facts)}")
        lines += [f"  #     {clean(note)}" for note in field.notes]
    return lines


def _offers(fields: Sequence[FieldDraft]) -> list[str]:
    if not fields:
        return []
    rows = [(f"  # {clean(_entry(f.name, f.options))}", clean(f.facts)) for f in fields]
    return ["", "  # What may be made of other times:", *aligned(rows)]


def _rest(draft: Draft) -> list[str]:
    time, group, rows = draft.time, draft.group, []
    if group.column:
        rows.append((f"group: {quoted(group.column)}", _told(group.guessed, group.facts)))
    else:
        rows.append(("# group: user_id", "a user's or session's rows: for metrics within groups"))
    if time.column:
        unit = f"{{column: {quoted(time.column)}, unit: {time.unit}}}"
        written = unit if time.unit else quoted(time.column)
        rows.append((f"time: {written}", _told(time.guessed, time.facts)))
    else:
        rows.append(("# time: t", "when a row was logged: for a split by time, and hour(t)"))
    rows.append((f"split: {options(draft.split)}", clean(draft.split_facts)))
    return aligned(rows)


def _told(guessed: bool, facts: str) -> str:
    return clean(f"guessed; {facts}" if guessed else facts)


def _input(given: InputSpec) -> list[str]:
    made = {}
    if given.separator != InputSpec().separator:
        made["separator"] = _text(given.separator)
    if given.missing:
        made["missing"] = [_text(word) for word in given.missing]
    if not made:
        return []
    return aligned([(f"input: {options(made)}", "texts that stand for a missing value")])


def _text(text: str) -> str:
    return f'"{text}"' if text.isalnum() else quoted(text)
