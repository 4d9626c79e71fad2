"""From raw files to a schema file: looks at a sample, guesses, writes, and says what is suspect."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence

import polars as pl

from dtn_jax.datasets.equal_rows import MUCH
from dtn_jax.datasets.logs.infer import fields, roles, sample, suspects, tasks
from dtn_jax.datasets.logs.infer.columns import Column, column, missing_words
from dtn_jax.datasets.logs.infer.draft import (
    Draft,
    FieldDraft,
    TaskDraft,
    clean,
    percent,
    quoted,
)
from dtn_jax.datasets.logs.infer.sample import Sample
from dtn_jax.datasets.logs.raw import files as raw_files
from dtn_jax.datasets.logs.raw.files import RawFile
from dtn_jax.datasets.logs.schema import schema_file
from dtn_jax.datasets.logs.schema.spec import InputSpec
from dtn_jax.datasets.preparation import progress
from dtn_jax.errors import UserError, choose
from dtn_jax.shared_files import write_whole

HELP = "python -m experiments.prepare --help=schema"
BROKEN = 0.001  # share of broken rows above which prepare fails unless told otherwise


def infer(
    input: Sequence[str],
    out: str | pathlib.Path,
    *,
    labels: Sequence[str] = (),
    time: str = "",
    group: str = "",
    replace: bool = False,
    help_command: str = HELP,
) -> Draft:
    """Writes a schema file that describes raw files, and shows what it holds.

    Args:
      input: files, globs or folders.
      out: the schema file.
      labels: columns; empty: they are guessed.
      time, group: columns; '': they are guessed.
      replace: whether another file at `out` is overwritten.
      help_command: lists the keys of a schema file; the file names it.

    Raises:
      UserError: the files cannot be read, a given column does not fit, no label or no field is
        found, or another file is at `out`.
    """
    out = pathlib.Path(out)
    files = raw_files.find(list(input))
    found = sample.read(files, how_read(files[0]))
    made = draft(found, labels, time, group)
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", out.stem).lstrip("_-") or "logs"
    text = made.text(name, found.told, help_command)
    schema_file.loads(text, str(out))
    for line in summary(made, found):
        progress.say(line)
    if out.exists() and not replace and out.read_bytes() != text.encode():
        raise UserError(
            f"{out} is there already, and says something else; give --replace to overwrite it, "
            "or another --out"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, text)
    return made


def how_read(file: RawFile) -> InputSpec:
    """How files like this one are read: the separator of CSV is the sign that cuts its header."""
    given = InputSpec(format=file.format)
    if file.format == "csv" and not file.address.lower().removesuffix(".gz").endswith(".tsv"):
        header = list(sample.schemas([file], given)[file.address])
        if len(header) == 1:
            best = max("\t;|", key=header[0].count)
            if best in header[0]:
                return dataclasses.replace(given, separator=best)
    return given


def draft(found: Sample, given: Sequence[str] = (), time: str = "", group: str = "") -> Draft:
    """What a sample suggests.

    Args:
      found: of the log.
      given: the labels; empty: they are guessed.
      time, group: columns; '': they are guessed.

    Raises:
      UserError: a given column does not fit, or no label, or no field, is found.
    """
    frame = found.frame
    words = missing_words(frame) if found.input.format == "csv" else []
    if words:
        text = pl.col(pl.String)
        frame = frame.with_columns(pl.when(~text.is_in(words)).then(text))
    columns = {c.name: column(c) for c in frame}
    singles = {name: c for name, c in columns.items() if not c.is_list}
    _check_given(time, group, given, found, singles)
    when = roles.time({n: c for n, c in singles.items() if n not in (group, *given)}, time)
    who = roles.group({n: c for n, c in singles.items() if n not in (when.name, *given)}, group)
    part, split = roles.split_column(singles)
    labels = tasks.tasks(singles, given, {when.name, who.name, part}, set(columns))
    notes = tasks.arrange(labels)
    used = {when.name, part, *(task.column for task in labels)}
    inputs = {name: c for name, c in columns.items() if name not in used}
    made = _fields(inputs, labels, found, singles.get(when.name))
    facts = "a column says it"
    if not part:
        split, facts = roles.split(when, who, singles)
    input = dataclasses.replace(found.input, missing=tuple(words))
    drafted = Draft(made, labels, when, who, split, facts, input, notes)
    roles.add_times(drafted, singles)
    if not any(field.kept for field in drafted.fields):
        told = [f"  {quoted(field.name)}: {field.reason}" for field in drafted.fields[:50]]
        raise UserError("no column can be a field:\n" + "\n".join(told or ["  there is none"]))
    few = [label.key for label in suspects.labels(labels, frame.height) if not label.enough]
    if few:
        notes.append(
            f"{', '.join(few)}: too few rows of one class to look for columns that give it away"
        )
    equal = frame.height - frame.hash_rows().n_unique()
    if split["by"] == "random" and equal > MUCH * frame.height:
        notes.append(
            f"{equal:,} rows ({percent(equal / frame.height)}) are equal to an earlier one in all "
            "columns: of a row in test, train then has a copy with its labels. Take them out of "
            "the log, or split it so that copies stay together (by: group)"
        )
    broken = found.broken / (frame.height + found.broken)
    if broken:
        fails = ": prepare then fails, unless --max_reject_rate allows it" * (broken > BROKEN)
        notes.append(
            f"{found.broken:,} rows of the sample ({percent(broken)}) cannot be read{fails}"
        )
    return drafted


def _check_given(
    time: str, group: str, labels: Sequence[str], found: Sample, singles: Mapping[str, Column]
) -> None:
    """Raises UserError where a column that was asked for is not there, or cannot be used."""
    uses: dict[str, str] = {}
    asked = [("--time", time), ("--group", group), *(("--labels", name) for name in labels)]
    for what, name in asked:
        if not name:
            continue
        if name in found.refused:
            raise UserError(f"{what}={name}: {found.refused[name]}")
        choose(f"column in {what}", name, found.frame.columns)
        if name not in singles:
            raise UserError(f"{what}={name}: it is a column of lists; expected single values")
        if uses.setdefault(name, what) != what:
            raise UserError(f"{what}={name}: the column is {uses[name]} as well")


def _fields(
    columns: Mapping[str, Column], labels: Sequence[TaskDraft], found: Sample, event: Column | None
) -> list[FieldDraft]:
    """The fields in the order of the columns, those of refused columns last."""
    singles = {name: c for name, c in columns.items() if not c.is_list}
    lists = [c for c in columns.values() if c.is_list]
    made = {name: fields.single(c, found.whole) for name, c in singles.items()}
    made |= fields.of_lists(lists, singles)
    able = [t for t in suspects.labels(labels, found.frame.height) if t.enough]
    with progress.Rows() as bars:
        every = bars.count(columns.values(), "columns", len(columns), lambda _: 1, "columns")
        for c in every:
            suspects.leave_out(made[c.name], c, able)
    for field in made.values():
        weights = field.options.get("weights")
        if weights in [quoted(f.name) for f in made.values() if f.suspect] and not field.suspect:
            del field.options["weights"]
            field.notes[0] = f"without its weights: {weights} is suspect"
    suspects.leave_out_times(made, singles, event)
    suspects.leave_out_copies(made, singles)
    refused = [FieldDraft(name, reason=reason) for name, reason in found.refused.items()]
    return [*(made[name] for name in columns), *refused]


def summary(draft: Draft, found: Sample) -> list[str]:
    """What is shown in the terminal: guesses, then suspicions."""
    lines = [f"Looked at {found.told}.", ""]
    entries = [("time", draft.time), ("group", draft.group)]
    for what, entry in [*(("task", task) for task in draft.tasks), *entries]:
        facts = entry.facts
        if isinstance(entry, TaskDraft):
            upstream = ", ".join(entry.options.get("upstream", []))
            facts = f"{'binary' if entry.binary else 'regression'}, {facts}"
            facts += f", upstream {upstream}" if upstream else ""
        told = f"{entry.name}{' (guessed)' * entry.guessed}: {facts}" if entry.name else "none"
        lines.append(f"{what:6s} {told}")
    split = ", ".join(f"{key} {value}" for key, value in draft.split.items() if key != "by")
    lines.append(f"split  by {draft.split['by']}: {split}")
    kept = [field for field in draft.fields if field.kept]
    for kind in dict.fromkeys(field.options.get("kind", "categorical") for field in kept):
        names = [f.name for f in kept if f.options.get("kind", "categorical") == kind]
        more = f" and {len(names) - 12} more" if len(names) > 12 else ""
        lines.append(f"{kind:12s} {', '.join(names[:12])}{more}")
    out = [f for f in draft.fields if f.reason]
    notes = [f"{e.name}: {note}" for e in (*draft.tasks, *kept, draft.time) for note in e.notes]
    parts = {
        "Left out": [f"{f.name}: {f.reason}" for f in out if not f.suspect],
        "Suspect, and left out": [f"{f.name}: {f.reason}" for f in out if f.suspect],
        "To look at": notes + draft.notes,
    }
    for title, texts in parts.items():
        lines += ["", title, *(f"  {text}" for text in texts)] if texts else []
    return [clean(line) for line in lines]
