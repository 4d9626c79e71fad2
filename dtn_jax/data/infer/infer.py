"""From raw files to a schema file: looks at a sample, guesses, writes, and says what is suspect."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from dtn_jax.data import progress
from dtn_jax.data.equal_rows import MUCH
from dtn_jax.data.infer import fields, roles
from dtn_jax.data.infer.fields import Entry
from dtn_jax.data.infer.names import quoted
from dtn_jax.data.infer.roles import Task
from dtn_jax.data.infer.sample import Column, Sample, clean, missing_words, percent, read
from dtn_jax.data.raw import files as raw_files
from dtn_jax.data.raw import read as raw_read
from dtn_jax.data.raw.files import RawFile
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.schemas.spec import InputSpec
from dtn_jax.errors import UserError, choose
from dtn_jax.files import write_whole

WIDTH = 50  # columns before a comment
TEXT = """\
# A schema file: inputs and labels of a model. The comments show what is in {looked}.
# Change what is wrong: a label that is none, an id that was taken for a number, a leak.
# All keys: dtn-jax prepare --help=schema
name: {name}
{input}
# Labels. 'guessed': by the column's name and values; --labels=NAME,NAME says which.
tasks:
{tasks}

# Inputs. A categorical field, the default, has an embedding for each value, a numeric one for
# each of 32 buckets, or with encoder: standardise it is a number. A bag is a list of ids.
fields:
{fields}
  # Left out, each for a reason. Without its '# ' a line is a field again.
{left}

{rest}
"""


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

    fields: list[Entry]
    tasks: list[Task]
    time: Entry
    group: Entry
    split: dict[str, Any]
    split_facts: str
    input: InputSpec
    notes: list[str] = dataclasses.field(default_factory=list)

    def text(self, name: str, looked: str) -> str:
        """The schema file of a data set of this name, and at which rows was looked."""
        time, group, given = self.time, self.group, self.input
        when = {"column": quoted(time.name), **time.options}
        when = _options(when) if time.options else quoted(time.name)
        rest = [
            _line(f"group: {quoted(group.name)}" if group.name else "# group: user", group.facts),
            _line(f"time: {when}" if time.name else "# time: t", time.facts),
            *(f"    # {note}" for note in time.notes),
            _line(f"split: {_options(self.split)}", self.split_facts),
        ]
        apart = json.dumps(given.separator) if given.separator != InputSpec().separator else ""
        missing = [json.dumps(word) for word in given.missing]
        input = {key: v for key, v in (("separator", apart), ("missing", missing)) if v}
        left = [(_entry(f), f"    {f.reason}", f"    {f.facts}") for f in self.fields if f.reason]
        left = [f"  # {clean(line)}" for three in left for line in three if line.strip()]
        return TEXT.format(
            looked=looked,
            name=quoted(name),
            input=f"input: {_options(input)}\n" if input else "",
            tasks="\n".join(_lines(self.tasks)),
            fields="\n".join(_lines([field for field in self.fields if not field.reason])),
            left="\n".join(left) or "  # nothing",
            rest="\n".join(rest),
        )

    def summary(self, size: str) -> list[str]:
        """What is shown in the terminal of a sample of this size: guesses, then suspicions."""
        roles = {"time": [self.time], "group": [self.group], "task": self.tasks}
        lines = [f"Looked at {size}."]
        for what, entries in roles.items():
            lines += [f"{what:6s} {entry.name or 'none'}: {entry.facts}" for entry in entries]
        out = [field for field in self.fields if field.reason]
        look = [e for e in (*self.tasks, *self.fields, self.time) if not e.reason]
        parts = {
            "Left out": [f"{f.name}: {f.reason}" for f in out if not f.suspect],
            "Suspect, and left out": [f"{f.name}: {f.reason}" for f in out if f.suspect],
            "To look at": [f"{e.name}: {note}" for e in look for note in e.notes] + self.notes,
        }
        for title, texts in parts.items():
            lines += ["", title, *(f"  {text}" for text in texts or ["nothing"])]
        return [clean(line) for line in lines]


def _line(text: str, comment: str) -> str:
    return f"{text:{WIDTH}s}  # {clean(comment)}" if comment else text


def _lines(entries: Sequence[Entry]) -> list[str]:
    """Fields or tasks, their notes below each."""
    lines = []
    for entry in entries:
        lines.append(_line(f"  {_entry(entry)}", entry.facts))
        lines += [f"    # {clean(note)}" for note in entry.notes]
    return lines


def _entry(entry: Entry) -> str:
    return f"{quoted(entry.name)}: {_options(entry.options) if entry.options else ''}".rstrip()


def _options(given: Mapping[str, Any]) -> str:
    """{kind: numeric, log: true}, of values that are ready for YAML."""
    texts = {k: f"[{', '.join(v)}]" if isinstance(v, list) else v for k, v in given.items()}
    return "{" + ", ".join(f"{key}: {text}" for key, text in texts.items()) + "}"


def infer(
    input: Sequence[str],
    out: str | pathlib.Path,
    *,
    labels: Sequence[str] = (),
    time: str = "",
    group: str = "",
    replace: bool = False,
) -> Draft:
    """Writes a schema file that describes raw files, and shows what it holds.

    Args:
      input: files, globs or folders.
      out: the schema file.
      labels: columns; empty: they are guessed.
      time, group: columns; '': they are guessed.
      replace: whether another file at `out` is overwritten.

    Raises:
      UserError: the files cannot be read, a given column does not fit, no label or no field is
        found, or another file is at `out`.
    """
    out = pathlib.Path(out)
    files = raw_files.find(list(input))
    sample = read(files, how_read(files[0]))
    result = draft(sample, labels, time, group)
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", out.stem).lstrip("_-") or "logs"
    text = result.text(name, sample.size)
    schema_file.loads(text, str(out))
    progress.say("\n".join(result.summary(sample.size)))
    if out.exists() and not replace and out.read_bytes() != text.encode():
        raise UserError(f"{out} is there already, and says something else; --replace overwrites it")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, text)
    return result


def how_read(file: RawFile) -> InputSpec:
    """How files like this one are read: the separator of CSV is the sign that cuts its header."""
    usual = InputSpec(format=file.format)
    if file.format == "csv" and not file.address.lower().removesuffix(".gz").endswith(".tsv"):
        header = list(raw_read.schema(file, usual))
        if len(header) == 1 and (separator := max("\t;|", key=header[0].count)) in header[0]:
            return dataclasses.replace(usual, separator=separator)
    return usual


def draft(sample: Sample, labels: Sequence[str] = (), time: str = "", group: str = "") -> Draft:
    """What a sample suggests.

    Args:
      sample: of the log.
      labels: columns; empty: they are guessed.
      time, group: columns; '': they are guessed.

    Raises:
      UserError: a given column does not fit, or no label, or no field, is found.
    """
    frame = sample.frame
    words = missing_words(frame) if sample.input.format == "csv" else []
    if words:
        frame = frame.with_columns(pl.when(~pl.col(pl.String).is_in(words)).then(pl.col(pl.String)))
    columns = {c.name: Column(c) for c in frame}
    singles = {name: c for name, c in columns.items() if not c.is_list}
    asked = {"--time": [time] * bool(time), "--group": [group] * bool(group), "--labels": labels}
    for what, name in [(what, name) for what, given in asked.items() for name in given]:
        choose(f"column in {what}", name, [*columns, *sample.refused])
        lists = "it is a column of lists; expected single values" * (name not in singles)
        other = [f"it is {also} as well" for also in asked if also != what and name in asked[also]]
        if problem := sample.refused.get(name) or lists or "".join(other):
            raise UserError(f"{what}={name}: {problem}")
    when = roles.time({n: c for n, c in singles.items() if n not in (group, *labels)}, time)
    who = roles.group({n: c for n, c in singles.items() if n not in (when.name, *labels)}, group)
    event = singles.get(when.name)
    part, split, why = roles.split(singles, event, who.name)
    if event is None and split["by"] == "random":
        when.facts = f"rows are split at random; {when.facts}"
    tasks = roles.tasks(singles, labels, {when.name, who.name, part}, set(columns))
    notes = roles.arrange(tasks)
    halves = [fields.halves(task.name, task.values, task.binary) for task in tasks]
    used = {when.name, part, *(task.column for task in tasks)}
    inputs = {name: c for name, c in columns.items() if name not in used}
    entries = fields.draft(inputs, halves, sample.whole, event)
    entries += [Entry(name, reason=reason) for name, reason in sample.refused.items()]
    taken = {entry.name for entry in (*entries, *tasks)}
    entries = [e for e in roles.hours(event) if e.name not in taken] + entries
    if all(field.reason for field in entries):
        reasons = [f"\n  {quoted(field.name)}: {field.reason}" for field in entries[:50]]
        raise UserError(f"no column can be a field:{''.join(reasons) or ' there is no other'}")
    if few := ", ".join(label.key for label in halves if not label.enough):
        notes.append(f"{few}: too few rows of one class to look for columns that give it away")
    equal = 1 - frame.hash_rows().n_unique() / frame.height
    if split["by"] == "random" and equal > MUCH:
        notes.append(
            f"{round(equal * frame.height):,} rows ({percent(equal)}) are equal to an earlier one "
            "in all columns: split at random, train knows the labels of such rows in test"
        )
    if broken := sample.broken:
        share = percent(broken / (frame.height + broken))
        notes.append(f"{broken:,} rows ({share}) cannot be read: prepare has --max_reject_rate")
    input = dataclasses.replace(sample.input, missing=tuple(words))
    return Draft(entries, tasks, when, who, split, why, input, notes)
