"""From raw files to a schema file: looks at a sample, guesses, writes, and says what is suspect."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Sequence

from dtn_jax.datasets.logs.infer import guess, sample, write
from dtn_jax.datasets.logs.infer.draft import Draft, TaskDraft
from dtn_jax.datasets.logs.infer.sample import Sample
from dtn_jax.datasets.logs.infer.words import clean, percent
from dtn_jax.datasets.logs.raw import files as raw_files
from dtn_jax.datasets.logs.raw import read as raw_read
from dtn_jax.datasets.logs.raw.files import RawFile
from dtn_jax.datasets.logs.schema import schema_file
from dtn_jax.datasets.logs.schema.spec import InputSpec
from dtn_jax.datasets.preparation import progress
from dtn_jax.errors import UserError
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
    draft = guess.draft(found, labels, time, group)
    text = write.schema_text(draft, name_of(out), found.told(), help_command)
    schema_file.loads(text, str(out))
    for line in summary(draft, found):
        progress.say(line)
    save(out, text, replace)
    return draft


def how_read(file: RawFile) -> InputSpec:
    """How files like this one are read: the separator of CSV is the sign that cuts its header."""
    given = InputSpec(format=file.format)
    if file.format == "csv" and not file.address.lower().removesuffix(".gz").endswith(".tsv"):
        header = list(raw_read.schema(file, given))
        if len(header) == 1:
            counts = {sign: header[0].count(sign) for sign in "\t;|"}
            best = max(counts, key=counts.__getitem__)
            if counts[best]:
                return dataclasses.replace(given, separator=best)
    return given


def name_of(out: pathlib.Path) -> str:
    """A data set's name from its schema file's."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", out.stem).lstrip("_-")
    return name or "logs"


def save(out: pathlib.Path, text: str, replace: bool) -> None:
    """Writes a schema file; raises UserError where another one is there and `replace` is False."""
    if out.exists() and not replace:
        try:
            same = out.read_text() == text
        except (OSError, UnicodeDecodeError):
            same = False
        if not same:
            raise UserError(
                f"{out} is there already, and says something else; give --replace to overwrite it, "
                "or another --out"
            )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, text)


def summary(draft: Draft, found: Sample) -> list[str]:
    """What is shown in the terminal: guesses, then suspicions."""
    lines = [f"Looked at {found.told()}.", ""]
    for task in draft.tasks:
        lines.append(f"task   {_task(task)}")
    for what, role in (("time", draft.time), ("group", draft.group)):
        told = f"{role.column}{_guessed(role.guessed)}: {role.facts}" if role.column else "none"
        lines.append(f"{what:6s} {told}")
    split = ", ".join(f"{key} {value}" for key, value in draft.split.items() if key != "by")
    lines.append(f"split  by {draft.split['by']}: {split}")
    kinds: dict[str, list[str]] = {}
    for field in draft.fields:
        if not field.reason:
            kinds.setdefault(field.options.get("kind", "categorical"), []).append(field.name)
    lines += [f"{kind:12s} {_listed(names)}" for kind, names in kinds.items()]
    out = [f for f in draft.fields if f.reason and f.reason != write.OFFER and not f.suspect]
    lines += _section("Left out", [f"{f.name}: {f.reason}" for f in out])
    suspects = [f"{f.name}: {f.reason}" for f in draft.fields if f.suspect]
    lines += _section("Suspect, and left out", suspects)
    lines += _section("To look at", _notes(draft, found))
    return [clean(line) for line in lines]


def _task(task: TaskDraft) -> str:
    kind = "binary" if task.binary else "regression"
    up = task.options.get("upstream", [])
    upstream = f", upstream {', '.join(up)}" if up else ""
    return f"{task.name}{_guessed(task.guessed)}: {kind}, {task.facts}{upstream}"


def _guessed(guessed: bool) -> str:
    return " (guessed)" if guessed else ""


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *(f"  {line}" for line in lines)] if lines else []


def _notes(draft: Draft, found: Sample) -> list[str]:
    lines = [f"{t.name}: {note}" for t in draft.tasks for note in t.notes]
    lines += [f"{f.name}: {note}" for f in draft.fields if not f.reason for note in f.notes]
    few = guess.unexamined(draft, found.frame.height)
    if few:
        lines.append(
            f"{', '.join(few)}: too few rows of one class to look for columns that give it away"
        )
    broken = found.broken / (found.frame.height + found.broken)
    if broken > BROKEN:
        lines.append(
            f"{percent(broken)} of the rows cannot be read: prepare then fails, unless "
            "--max_reject_rate allows it"
        )
    return [*lines, *draft.notes]
