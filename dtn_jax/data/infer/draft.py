"""A draft: what is guessed of a log, and its text as a schema file, with comments on the sample."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dtn_jax.data import progress
from dtn_jax.data.formula import CONSTANTS, WORDS
from dtn_jax.data.schemas.spec import InputSpec
from dtn_jax.shapes import Float64

PLAIN = r"[A-Za-z_][A-Za-z0-9_]*"
FORMULA = r"[A-Za-z_][A-Za-z0-9_ ()<>=.+*-]*[A-Za-z0-9_)]"  # plain in YAML, too
YAML_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")  # of YAML 1.1, too
LONGEST = 24  # characters of an example
WIDEST = 64  # columns before a comment
HEAD = """\
# A schema file: inputs and labels of a model, made of the columns of raw logs.
# Its comments show what is in {looked}.
# Change what is wrong: a label that is none, an id that was taken for a number, a leak.
# All keys: {help}
name: {name}
{input}
# Labels. '# guessed': by the column's name and values; --labels=NAME,NAME says which.
tasks:
{tasks}

# Inputs. Without options a field is categorical: each of its values has an embedding;
# those that train does not show share one. A numeric field has an embedding for each of
# 32 buckets; with encoder: standardise it is a number, and log makes a difference.
fields:
{fields}

{rest}
"""


@dataclasses.dataclass
class Entry:
    """A column and what becomes of it.

    Attributes:
      name: of the field, the task or the column.
      options: {key: value}, the values ready for YAML.
      facts: what the sample shows of it, in a line.
      notes: what to know more, each in a line.
      guessed: by the column's name; else it was asked for.
    """

    name: str = ""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    facts: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)
    guessed: bool = False


@dataclasses.dataclass
class FieldDraft(Entry):
    """A field, or a column that is none.

    Attributes:
      reason: why it is left out; '' where it is not.
      suspect: whether the reason is one to look at: a leak, not a matter of course.
      offer: whether it is one of several that may be made of a time, and left out.
    """

    reason: str = ""
    suspect: bool = False
    offer: bool = False

    @property
    def kept(self) -> bool:
        return not self.reason and not self.offer

    def leave_out(self, reason: str, suspect: bool = False) -> None:
        """Leaves it out; the first reason stands, unless a suspicion comes after it."""
        if not self.reason or (suspect and not self.suspect):
            self.reason, self.suspect = reason, suspect


@dataclasses.dataclass
class TaskDraft(Entry):
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


@dataclasses.dataclass
class Draft:
    """A schema file.

    Attributes:
      fields: in the order of the columns, those that are left out too.
      tasks: the labels.
      time, group: the columns of the log, '' is the name of none; the time's options have its unit,
        where the column's type does not say it.
      split: {key: value}, as it stands in the file.
      split_facts: why it is split so.
      input: how files are read.
      notes: what to know of the whole.
    """

    fields: list[FieldDraft]
    tasks: list[TaskDraft]
    time: Entry
    group: Entry
    split: dict[str, Any]
    split_facts: str
    input: InputSpec
    notes: list[str] = dataclasses.field(default_factory=list)

    def text(self, name: str, looked: str, help_command: str) -> str:
        """The schema file.

        Args:
          name: of the data set.
          looked: at which rows.
          help_command: what lists all keys.
        """
        fields = _entries([field for field in self.fields if field.kept])
        if out := [field for field in self.fields if field.reason]:
            fields += [
                "",
                "  # Left out, each for a reason. Without its '# ' a line is a field again.",
            ]
            fields += [line for field in out for line in _left_out(field)]
        if offers := [(f"  # {clean(_entry(f))}", f.facts) for f in self.fields if f.offer]:
            fields += ["", "  # What may be made of other times:", *_aligned(offers)]
        return HEAD.format(
            looked=looked,
            help=help_command,
            name=quoted(name),
            input="".join(f"{line}\n" for line in _input(self.input)),
            tasks="\n".join(_entries(self.tasks)),
            fields="\n".join(fields),
            rest="\n".join(self._rest()),
        )

    def _rest(self) -> list[str]:
        time, group = self.time, self.group
        rows = [("# group: user_id", "a user's or session's rows: for metrics within groups")]
        if group.name:
            rows = [(f"group: {quoted(group.name)}", _told(group))]
        if time.name:
            named = options({"column": quoted(time.name), **time.options})
            rows.append((f"time: {named if time.options else quoted(time.name)}", _told(time)))
        else:
            rows.append(("# time: t", "when a row was logged: for a split by time, and hour(t)"))
        rows += [(f"    # {clean(note)}", "") for note in time.notes]
        return _aligned([*rows, (f"split: {options(self.split)}", self.split_facts)])


def _aligned(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Lines of (text, comment), the comments one below the other; that of a long line is below."""
    rows = [(text, clean(comment), len(text) <= WIDEST) for text, comment in rows]
    width = max((len(text) for text, comment, short in rows if comment and short), default=0)
    lines = []
    for text, comment, short in rows:
        lines.append(f"{text:{width}s}  # {comment}" if comment and short else text)
        lines += [f"    # {comment}"] if comment and not short else []
    return lines


def _entry(entry: Entry, width: int = 0) -> str:
    key = f"{quoted(entry.name)}:"
    return f"{key:{width}s} {options(entry.options)}" if entry.options else key


def _entries(entries: Sequence[Entry]) -> list[str]:
    """Fields or tasks, their notes below each."""
    keys = [len(quoted(entry.name)) + 1 for entry in entries]
    width, rows = max((n for n in keys if n <= 28), default=0), []
    for entry in entries:
        rows.append((f"  {_entry(entry, width)}", _told(entry)))
        rows += [(f"    # {clean(note)}", "") for note in entry.notes]
    return _aligned(rows)


def _left_out(field: FieldDraft) -> list[str]:
    """As comments; without the '# ' it is a field."""
    said = field.reason.startswith(("constant", "always", "nearly unique"))
    more = [field.reason, "" if said else field.facts, *field.notes]
    return [f"  # {clean(_entry(field))}", *(f"  #     {clean(text)}" for text in more if text)]


def _told(entry: Entry) -> str:
    return f"guessed; {entry.facts}" if entry.guessed else entry.facts


def _input(given: InputSpec) -> list[str]:
    found = {"missing": [json.dumps(word) for word in given.missing]} if given.missing else {}
    if given.separator != InputSpec().separator:
        found = {"separator": json.dumps(given.separator), **found}
    rows = [(f"input: {options(found)}", "texts that stand for a missing value")]
    return _aligned(rows) if found else []


def options(given: dict[str, Any]) -> str:
    """{kind: numeric, log: true}, of values that are ready for YAML."""
    texts = {k: f"[{', '.join(v)}]" if isinstance(v, list) else v for k, v in given.items()}
    return "{" + ", ".join(f"{key}: {text}" for key, text in texts.items()) + "}"


def quoted(text: str, plain: str = PLAIN) -> str:
    """A text as YAML has it: plain where all readers of YAML see a text in it."""
    if re.fullmatch(plain, text) and text.lower() not in YAML_WORDS:
        return text
    signs = json.dumps(text, ensure_ascii=False)
    return "".join(s if s.isprintable() else s.encode("unicode_escape").decode() for s in signs)


def expression(column: str) -> str:
    """A column's name in an expression; '' where none can have it."""
    if re.fullmatch(r"[^\W\d]\w*", column) and column not in (*WORDS, *CONSTANTS):
        return column
    return "" if "`" in column else f"`{column}`"


def clean(text: str) -> str:
    """A text for a comment: on one line, without what YAML does not allow."""
    return "".join(sign if sign.isprintable() else "·" for sign in text)


def shown(given: Any) -> str:
    """A value as an example in a comment."""
    if isinstance(given, bool):
        return str(given).lower()
    if isinstance(given, float):
        return _number(given)
    if not isinstance(given, str):
        return clean(str(given))[:LONGEST]
    text = clean(given)
    text = text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    return text if text and text == text.strip() and "," not in text else f"'{text}'"


def _number(given: float) -> str:
    size = abs(given)
    if size >= 1e15 or 0 < size < 1e-4 or given != given:
        return f"{given:.3g}"
    if given == int(given):
        return f"{int(given):,}" if size >= 10_000 else f"{int(given)}"
    return f"{given:,.0f}" if size >= 1000 else f"{given:.3g}"


def percent(share: float) -> str:
    """'3.2 %'"""
    return "100 %" if share == 1 else progress.percent(round(share * 10**9), 10**9)
