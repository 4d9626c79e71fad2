"""A draft as the text of a schema file, with comments that say what the sample shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from dtn_jax.datasets.logs.formula.syntax import CONSTANTS, WORDS
from dtn_jax.datasets.logs.infer.draft import Draft, Entry, FieldDraft
from dtn_jax.datasets.logs.schema.spec import InputSpec
from dtn_jax.datasets.preparation import progress

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
Row = tuple[str, str]  # a line's text and its comment


def schema_text(draft: Draft, name: str, looked: str, help_command: str) -> str:
    """The schema file.

    Args:
      draft: what it says.
      name: of the data set.
      looked: at which rows.
      help_command: what lists all keys.
    """
    kept = [field for field in draft.fields if field.kept]
    fields = [*_entries(kept), *_left_out([f for f in draft.fields if f.reason])]
    if offers := [f for f in draft.fields if f.offer]:
        rows = [(f"  # {clean(_entry(f))}", f.facts) for f in offers]
        fields += ["", "  # What may be made of other times:", *aligned(rows)]
    return HEAD.format(
        looked=looked,
        help=help_command,
        name=quoted(name),
        input=_input(draft.input),
        tasks="\n".join(_entries(draft.tasks)),
        fields="\n".join(fields),
        rest="\n".join(_rest(draft)),
    )


def aligned(rows: Iterable[Row]) -> list[str]:
    """Lines of (text, comment), the comments one below the other; that of a long line is below."""
    rows = [(text, clean(comment)) for text, comment in rows]
    width = max((len(t) for t, comment in rows if comment and len(t) <= WIDEST), default=0)
    lines = []
    for text, comment in rows:
        beside = comment and len(text) <= WIDEST
        lines.append(f"{text:{width}s}  # {comment}" if beside else text)
        lines += [f"    # {comment}"] if comment and not beside else []
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
    return aligned(rows)


def _left_out(fields: Sequence[FieldDraft]) -> list[str]:
    """As comments; without the '# ' they are fields."""
    lines = ["", "  # Left out, each for a reason. Without its '# ' a line is a field again."]
    for field in fields:
        lines.append(f"  # {clean(_entry(field))}")
        said = field.reason.startswith(("constant", "always", "nearly unique"))
        more = [field.reason, "" if said else field.facts, *field.notes]
        lines += [f"  #     {clean(text)}" for text in more if text]
    return lines if fields else []


def _rest(draft: Draft) -> list[str]:
    time, group = draft.time, draft.group
    rows = [("# group: user_id", "a user's or session's rows: for metrics within groups")]
    if group.name:
        rows = [(f"group: {quoted(group.name)}", _told(group))]
    if time.name:
        unit = f"{{column: {quoted(time.name)}, unit: {time.unit}}}"
        rows.append((f"time: {unit if time.unit else quoted(time.name)}", _told(time)))
        rows += [(f"# {clean(note)}", "") for note in time.notes]
    else:
        rows.append(("# time: t", "when a row was logged: for a split by time, and hour(t)"))
    return aligned([*rows, (f"split: {options(draft.split)}", draft.split_facts)])


def _told(entry: Entry) -> str:
    return f"guessed; {entry.facts}" if entry.guessed else entry.facts


def _input(given: InputSpec) -> str:
    found = {}
    if given.separator != InputSpec().separator:
        found["separator"] = _quoted_word(given.separator)
    if given.missing:
        found["missing"] = [_quoted_word(word) for word in given.missing]
    rows = [(f"input: {options(found)}", "texts that stand for a missing value")] if found else []
    return "".join(f"{line}\n" for line in aligned(rows))


def _quoted_word(text: str) -> str:
    return f'"{text}"' if text.isalnum() else quoted(text)


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


def formula(text: str) -> str:
    """An expression as YAML has it."""
    return quoted(text, FORMULA)


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
