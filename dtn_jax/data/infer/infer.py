"""From raw files to a schema file: looks at a sample, guesses, writes, and says what is suspect."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence

import polars as pl

from dtn_jax.data import progress
from dtn_jax.data.describe.leaks import Label
from dtn_jax.data.equal_rows import MUCH
from dtn_jax.data.infer import fields, roles
from dtn_jax.data.infer.draft import Draft, FieldDraft, TaskDraft, clean, percent, quoted
from dtn_jax.data.infer.sample import Column, Sample, column_of, missing_words, read, schemas
from dtn_jax.data.raw import files as raw_files
from dtn_jax.data.raw.files import RawFile
from dtn_jax.data.schemas import schema_file
from dtn_jax.data.schemas.spec import InputSpec
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
    sample = read(files, how_read(files[0]))
    result = draft(sample, labels, time, group)
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", out.stem).lstrip("_-") or "logs"
    text = result.text(name, sample.size, help_command)
    schema_file.loads(text, str(out))
    for line in summary(result, sample):
        progress.say(line)
    if out.exists() and not replace and out.read_bytes() != text.encode():
        raise UserError(
            f"{out} is there already, and says something else; give --replace to overwrite it, "
            "or another --out"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, text)
    return result


def how_read(file: RawFile) -> InputSpec:
    """How files like this one are read: the separator of CSV is the sign that cuts its header."""
    usual = InputSpec(format=file.format)
    if file.format == "csv" and not file.address.lower().removesuffix(".gz").endswith(".tsv"):
        header = list(schemas([file], usual)[file.address])
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
        text = pl.col(pl.String)
        frame = frame.with_columns(pl.when(~text.is_in(words)).then(text))
    columns = {c.name: column_of(c) for c in frame}
    singles = {name: c for name, c in columns.items() if not c.is_list}
    asked = [("--time", time), ("--group", group), *(("--labels", name) for name in labels)]
    _check_given(asked, sample, singles)
    when = roles.time({n: c for n, c in singles.items() if n not in (group, *labels)}, time)
    who = roles.group({n: c for n, c in singles.items() if n not in (when.name, *labels)}, group)
    part, split = roles.split_column(singles)
    drafts = roles.tasks(singles, labels, {when.name, who.name, part}, set(columns))
    notes = roles.arrange(drafts)
    targets = fields.labels(drafts, frame.height)
    used = {when.name, part, *(task.column for task in drafts)}
    inputs = {name: c for name, c in columns.items() if name not in used}
    entries = _fields(inputs, targets, sample.whole, singles.get(when.name))
    entries += [FieldDraft(name, reason=reason) for name, reason in sample.refused.items()]
    why = "a column says it"
    if not part:
        split, why = roles.split(when, who, singles)
    input = dataclasses.replace(sample.input, missing=tuple(words))
    result = Draft(entries, drafts, when, who, split, why, input, notes)
    roles.add_times(result, singles)
    if not any(field.kept for field in result.fields):
        reasons = [f"  {quoted(field.name)}: {field.reason}" for field in result.fields[:50]]
        raise UserError("no column can be a field:\n" + "\n".join(reasons or ["  there is none"]))
    if few := ", ".join(label.key for label in targets if not label.enough):
        notes.append(f"{few}: too few rows of one class to look for columns that give it away")
    equal = 1 - frame.hash_rows().n_unique() / frame.height
    if split["by"] == "random" and equal > MUCH:
        notes.append(
            f"{round(equal * frame.height):,} rows ({percent(equal)}) are equal to an earlier one "
            "in all columns: split at random, train knows the labels of such rows in test. Take "
            "them out of the log, or split it so that copies stay together (by: group)"
        )
    if broken := sample.broken / (frame.height + sample.broken):
        fails = ": prepare then fails, unless --max_reject_rate allows it" * (broken > BROKEN)
        notes.append(
            f"{sample.broken:,} rows of the sample ({percent(broken)}) cannot be read{fails}"
        )
    return result


def _check_given(
    asked: Sequence[tuple[str, str]], sample: Sample, singles: Mapping[str, Column]
) -> None:
    """Raises UserError where a column that was asked for is not there, or cannot be used."""
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


def _fields(
    columns: Mapping[str, Column], labels: Sequence[Label], whole: bool, event: Column | None
) -> list[FieldDraft]:
    """The fields in the order of the columns."""
    singles = {name: c for name, c in columns.items() if not c.is_list}
    by_name = {name: fields.single(c, whole) for name, c in singles.items()}
    by_name |= fields.of_lists([c for c in columns.values() if c.is_list], singles)
    able = [label for label in labels if label.enough]
    with progress.Rows() as bars:
        count = len(columns)
        for c in bars.count(columns.values(), "columns", count, lambda _: 1, "columns"):
            fields.leave_out(by_name[c.name], c, able)
    suspected = [quoted(field.name) for field in by_name.values() if field.suspect]
    for field in by_name.values():
        if field.options.get("weights") in suspected and not field.suspect:
            field.notes[0] = f"without its weights: {field.options.pop('weights')} is suspect"
    fields.leave_out_times(by_name, singles, event)
    fields.leave_out_copies(by_name, singles)
    return [by_name[name] for name in columns]


def summary(draft: Draft, sample: Sample) -> list[str]:
    """What is shown in the terminal: guesses, then suspicions."""
    lines = [f"Looked at {sample.size}.", ""]
    roles = [("time", draft.time), ("group", draft.group)]
    for what, entry in [*(("task", task) for task in draft.tasks), *roles]:
        facts = entry.facts
        if isinstance(entry, TaskDraft):
            upstream = ", ".join(entry.options.get("upstream", []))
            facts = f"{'binary' if entry.binary else 'regression'}, {facts}"
            facts += f", upstream {upstream}" if upstream else ""
        guess = f"{entry.name}{' (guessed)' * entry.guessed}: {facts}" if entry.name else "none"
        lines.append(f"{what:6s} {guess}")
    split = ", ".join(f"{key} {value}" for key, value in draft.split.items() if key != "by")
    lines.append(f"split  by {draft.split['by']}: {split}")
    kept, out = [f for f in draft.fields if f.kept], [f for f in draft.fields if f.reason]
    for kind in dict.fromkeys(field.options.get("kind", "categorical") for field in kept):
        names = [f.name for f in kept if f.options.get("kind", "categorical") == kind]
        more = f" and {len(names) - 12} more" if len(names) > 12 else ""
        lines.append(f"{kind:12s} {', '.join(names[:12])}{more}")
    notes = [f"{e.name}: {note}" for e in (*draft.tasks, *kept, draft.time) for note in e.notes]
    parts = {
        "Left out": [f"{f.name}: {f.reason}" for f in out if not f.suspect],
        "Suspect, and left out": [f"{f.name}: {f.reason}" for f in out if f.suspect],
        "To look at": notes + draft.notes,
    }
    for title, texts in parts.items():
        lines += ["", title, *(f"  {text}" for text in texts)] if texts else []
    return [clean(line) for line in lines]
