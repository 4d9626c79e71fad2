"""From raw files to a schema file: looks at a sample, guesses, writes, and says what is suspect."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
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

LISTS = "it is a column of lists; expected single values"
TEXT = pathlib.Path(__file__).with_name("draft.yaml")


@dataclasses.dataclass
class Draft:
    """A schema file.

    Attributes:
      fields: in the order of the columns, those that are left out too.
      tasks: the labels.
      time, group: the columns of the log, '' is the name of none; the time's options have its unit,
        where the column's type does not say it.
      split: by what rows are split: time or random.
      split_facts: why it is split so.
      input: how files are read.
      notes: what to know of the whole.
    """

    fields: list[Entry]
    tasks: list[Task]
    time: Entry
    group: Entry
    split: str
    split_facts: str
    input: InputSpec
    notes: list[str] = dataclasses.field(default_factory=list)

    def text(self, name: str, looked: str, format: str = "") -> str:
        """The schema file of a data set of this name, at which rows was looked, and the format that
        the files' names do not tell."""
        time, given = quoted(self.time.name) if self.time.name else "", self.input
        if self.time.options:
            time = _options({"column": time, **self.time.options})
        apart = json.dumps(given.separator) if given.separator != InputSpec().separator else ""
        missing = [json.dumps(word) for word in given.missing]
        input = {"format": format, "separator": apart, "missing": missing}
        input = {key: value for key, value in input.items() if value}
        environment = jinja2.Environment(
            trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
        )
        environment.filters |= {"clean": clean, "quoted": quoted, "options": _options}
        template = environment.from_string(TEXT.read_text())
        return template.render(draft=self, looked=looked, name=name, input=input, time=time)

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


def _options(given: Mapping[str, Any]) -> str:
    """{kind: numeric, log: true}, of values that are ready for YAML."""
    texts = {k: f"[{', '.join(v)}]" if isinstance(v, list) else v for k, v in given.items()}
    return "{" + ", ".join(f"{key}: {text}" for key, text in texts.items()) + "}"


def infer(
    input: Sequence[str],
    out: str | pathlib.Path,
    *,
    format: str = "",
    labels: Sequence[str] = (),
    time: str = "",
    group: str = "",
    replace: bool = False,
) -> Draft:
    """Writes a schema file that describes raw files, and shows what it holds.

    Args:
      input: files, globs or folders.
      out: the schema file.
      format: of the files, whatever their suffixes; '' goes by these.
      labels: columns; empty: they are guessed.
      time, group: columns; '': they are guessed.
      replace: whether another file at `out` is overwritten.

    Raises:
      UserError: the files cannot be read, a given column does not fit, no label or no field is
        found, or another file is at `out`.
    """
    out = pathlib.Path(out)
    files = raw_files.find(list(input), format)
    sample = read(files, how_read(files[0]))
    result = draft(sample, labels, time, group)
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", out.stem).lstrip("_-") or "logs"
    text = result.text(name, sample.size, format)
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
    for what, chosen in (("--time", [time]), ("--group", [group]), ("--labels", labels)):
        for name in filter(None, chosen):
            choose(f"column in {what}", name, [*columns, *sample.refused])
            if problem := sample.refused.get(name, LISTS * (name not in singles)):
                raise UserError(f"{what}={name}: {problem}")
    free = {n: c for n, c in singles.items() if n not in (group, *labels)}
    when = roles.time(singles if time else free, time)
    free.pop(when.name, None)
    who = roles.group(singles if group else free, group)
    event = singles.get(when.name)
    split, why = roles.split(event, who.name)
    tasks = roles.tasks(singles, labels, {when.name, who.name}, set(columns))
    roles.arrange(tasks)
    notes = []
    halves = [fields.halves(task.name, task.values, task.binary) for task in tasks]
    used = {when.name, *(task.column for task in tasks)}
    inputs = {name: c for name, c in columns.items() if name not in used}
    entries = fields.draft(inputs, halves, sample.whole)
    entries += [Entry(name, reason=reason) for name, reason in sample.refused.items()]
    taken = {entry.name for entry in (*entries, *tasks)}
    entries = [e for e in roles.hour(event) if e.name not in taken] + entries
    if all(field.reason for field in entries):
        reasons = [f"\n  {quoted(field.name)}: {field.reason}" for field in entries[:50]]
        raise UserError(f"no column can be a field:{''.join(reasons) or ' there is no other'}")
    equal = 1 - frame.hash_rows().n_unique() / frame.height
    if split == "random" and equal > MUCH:
        notes.append(
            f"{round(equal * frame.height):,} rows ({percent(equal)}) are equal to an earlier one "
            "in all columns: split at random, train knows the labels of such rows in test"
        )
    if lines := sample.broken.summary():
        notes += [*lines, "prepare rejects such rows, up to --max_reject_rate of all"]
    input = dataclasses.replace(sample.input, missing=tuple(words))
    return Draft(entries, tasks, when, who, split, why, input, notes)
