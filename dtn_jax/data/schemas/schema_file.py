"""A schema file (YAML or JSON) is read into a Spec; every error names its file and line.

    name: shop
    fields:
      user_id: {min_count: 2}
      hour: {value: hour(t)}
    tasks:
      click:
      long_view: {label: watch_seconds > 30, upstream: [click]}
    group: user_id
    time: t

`keys.help_text()` lists every key with its meaning and default. Each scalar is the text that stands
there: a task may be called `no` and a column `on`, 007 keeps its zeros as a text, and 12:30 is no
number. Numbers are 30, 0.1, 1e6 or 1_000; true and false may be yes and no.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import re
from typing import Any

import pydantic

from dtn_jax.data import times
from dtn_jax.data.formula import Expression, of_column
from dtn_jax.data.quantiles import BINS
from dtn_jax.data.schemas import key_models as keys
from dtn_jax.data.schemas import yaml_lines
from dtn_jax.data.schemas.key_models import COMPANION, CROSS, ENCODERS
from dtn_jax.data.schemas.spec import (
    LISTED,
    FieldSpec,
    HistorySpec,
    InputSpec,
    Spec,
    SplitSpec,
    TaskSpec,
)
from dtn_jax.data.schemas.yaml_lines import File, Null, shown
from dtn_jax.errors import UserError
from dtn_jax.field import SCALED
from dtn_jax.places import schema_path
from dtn_jax.schema import Field, Schema, Task

NEEDED = {"hash": "size", "identity": "size", "vector": "length"}  # {encoder or kind: its key}
SOURCES = ("column", "value", "cross", "gap", "history")  # of a field's values
OF_LISTS = ("target", "max_values", "keep", "longest")  # in a column, not of a history
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
SPLITS = ("train", "validation", "test")
SHARE = "a share, above 0 and below 1"
CUTS = {  # {how rows are split: what else `validation` and `test` may be}
    "time": ", or a time such as 2026-03-05",
    "user_order": ", or a number of rows, from 1 on",
}
# Younger keys: no part of the meaning where they have this default.
SINCE = {"keep": "first", "scored_as": (), "optional": False, "embedding": SCALED, "bins": 0}
SINCE |= {"target": "", "history": None, "beside": "", "gap": False, "loss_weight": ""}
# What decides neither rows nor labels; positives_outside decides whether there is a set at all.
NO_MEANING = ("line", "path", "about", "positives_outside", "role", "tokens")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # it is a folder's, too


def load(path: str | pathlib.Path) -> Spec:
    """Reads a schema file.

    Raises:
      UserError: there is no such file, or what it says makes no sense, with file, line, what was
        got and expected.
    """
    return read(yaml_lines.load(str(schema_path(path))))


def loads(text: str, path: str = "schema.yaml") -> Spec:
    """Reads a schema file's text; `path` is its name in messages. Raises as `load`."""
    return read(yaml_lines.loads(text, path))


def read(file: File) -> Spec:
    """A checked Spec from a schema file's content; raises UserError with the file and the line."""
    data = file.data
    for key in [k for k in ("fields", "tasks") if isinstance(data, dict) and k in data]:
        parts = by_name(file, key, data[key]) if isinstance(data[key], list) else data[key]
        if not isinstance(parts, dict) or not parts:
            problem = "expected at least one, as {name: options} or in a list of names"
            raise file.error(f"{problem}, got {shown(parts)}", key)
        empty = {name: {} for name in parts if isinstance(parts[name], Null | None)}
        data = data | {key: parts | empty}
    try:
        given = keys.FileKeys.model_validate(data)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = [part for part in first["loc"] if part != "[key]"]
        if first["type"] == "missing":
            raise file.error(f"expected a key {place.pop()!r}", *place) from None
        problem, *key = first["ctx"]["error"].args
        raise file.error(problem, *place, *key) from None
    name = given.name or pathlib.Path(file.path).stem
    if not NAME.fullmatch(name):
        raise file.error(f"expected letters, digits, '_' and '-', got {name!r}", "name")
    input = given.input or keys.InputKeys()
    if input.format:
        check_only(file, input, input.format, "input")
    options = dict(given) | {"name": name, "path": file.path}
    options["time"] = given.time.column if given.time else ""
    options["input"] = InputSpec(**dict(input))
    options["split"] = split(file, given)
    options["tasks"] = tuple(task(file, given, name) for name in given.tasks)
    options["fields"] = linked(file, [field(file, given, name) for name in given.fields])
    spec = Spec(**options)
    for check in (graph, sampled, leaks, same_tables, same_users):
        check(spec, file)
    return timed(spec, given.time.unit if given.time else "")


def by_name(file: File, key: str, names: list) -> dict[str, Any]:
    """{name: {}} of a list of names; (key, name) is the place of each."""
    for at, name in enumerate(names):
        if not isinstance(name, str) or name in names[:at]:
            problem = "listed twice" if name in names[:at] else "no name"
            raise file.error(f"{shown(name)} is {problem}; expected {{name: options}}", key, at)
        file.lines[key, name] = file.lines[key, at]
    return {name: {} for name in names}


# The parts.


def check_only(file: File, given: keys.Keys, kind: str, *place: str, words: tuple = ()) -> None:
    """Raises UserError where a key is given that its part cannot have.

    Args:
      file: the file.
      given: the part's keys.
      kind: what the part is, such as its kind.
      place: of the part.
      words: what it is besides.
    """
    for key, option in type(given).model_fields.items():
        only = next((m for m in option.metadata if isinstance(m, keys.Only)), (kind,))
        if key in given and not {*only} & {kind, *words}:
            raise file.error(f"an option of {' or '.join(only)}; this is {kind}", *place, key)


def field(file: File, top: keys.FileKeys, name: str) -> FieldSpec:
    """A field of the schema file."""
    given, place = top.fields[name], ("fields", name)
    listed = "history" in given or "beside" in given
    kind = role = given.kind or ("sequence" if listed else "categorical")
    if kind == "sequence" and "beside" in given:
        role = COMPANION
    if kind == "categorical" and "cross" in given:
        role = CROSS
    encoder = given.encoder or ENCODERS[role][0]
    if encoder not in ENCODERS[role]:
        others = " or ".join(other for other, words in ENCODERS.items() if encoder in words)
        problem = f"{encoder} is an encoder of {others}; {role} has {', '.join(ENCODERS[role])}"
        raise file.error(problem, *place, "encoder")
    exactly = f"{role} with the encoder {encoder}"
    check_only(file, given, exactly, *place, words=(role, encoder))
    sources = [key for key in SOURCES if key in given and getattr(given, key) is not False]
    sources += [key for key in OF_LISTS if key in given and "history" in given]
    if len(sources) > 1:
        raise file.error(f"it has {sources[0]} too; expected one of them", *place, sources[1])
    for word in (kind, encoder):
        if (key := NEEDED.get(word)) and key not in given:
            raise file.error(f"expected a {key} for {word}, such as {key}: 1000", *place)
    if role == "sequence" and "target" not in given and "history" not in given:
        hint = "target: item, a history, or, of a companion, beside: viewed"
        raise file.error(f"it is a sequence: expected a target, such as {hint}", *place)
    if given.value and role in LISTED and not given.value.column:
        raise file.error(f"it is a {role}: expected a column of lists", *place, "value")
    if given.functions > 1 and given.pooling != "sum":
        raise file.error("expected sum, as functions: 2 adds two rows", *place, "pooling")
    if given.weights and given.pooling == "max":
        raise file.error("max pooling has no use for weights", *place, "weights")
    options = dict(given) | {"name": name, "kind": kind, "encoder": encoder}
    options |= {"table": given.table or name, "line": file.lines["fields", name]}
    if role == "sequence":
        usual = {"keep": "last", "pooling": "mean"}
        options |= {key: word for key, word in usual.items() if key not in given}
    if history := given.history:
        if not top.time:
            raise file.error("expected a time column, such as time: t", *place, "history")
        if not (by := history.by or top.group):
            raise file.error("expected the users' column, as by: user_id", *place, "history")
        options["history"] = HistorySpec(by=by, where=history.where)
        options |= {"target": history.of, "max_values": history.last}
    column = options.pop("column")
    if column or not sources:
        options["value"] = of_column(column or name)
    if given.embedding == "piecewise_linear" and "bins" not in given:
        options["bins"] = BINS
    for text in filter(None, given.scored_as if kind == "numeric" else ()):
        if not NUMBER.fullmatch(text):
            raise file.error(f"expected a number, got {text!r}", *place, "scored_as")
    return FieldSpec(**options)


def task(file: File, top: keys.FileKeys, name: str) -> TaskSpec:
    """A task of the schema file."""
    given = top.tasks[name]
    check_only(file, given, given.kind, "tasks", name)
    options = dict(given) | {"name": name, "line": file.lines["tasks", name]}
    options["label"] = given.label or of_column(name)
    options["least"], options["most"] = least, most = options.pop("range")
    if least is not None and least >= most:
        problem = f"expected the smaller number first, got [{least:g}, {most:g}]"
        raise file.error(problem, "tasks", name, "range")
    return TaskSpec(**options)


def split(file: File, top: keys.FileKeys) -> SplitSpec:
    """How rows are split."""
    given, usual = top.split, "time" if top.time else "random"
    if not given:
        return SplitSpec(by=usual)
    by = given.by or usual
    check_only(file, given, by, "split")
    if by in ("time", "user_order") and not top.time:
        raise file.error(f"{by} needs the time column, as in time: t", "split")
    if by in ("group", "user_order") and not top.group:
        raise file.error(f"{by} needs the column of groups, as in group: user_id", "split")
    options = dict(given) | {"by": by, "line": file.lines["split",]}
    if by == "column":
        options["values"] = values_of(file, given, "validation" in given)
    return SplitSpec(**options | cuts(file, given, by, top.time.unit if top.time else ""))


def values_of(file: File, given: keys.SplitKeys, drawn: bool) -> dict[str, tuple[str, ...]]:
    """{split: its values}; none of validation where that is `drawn` from train."""
    if not given.column:
        raise file.error("column needs the key 'column'", "split")
    needed = SPLITS[::2] if drawn else SPLITS
    if "values" not in given:
        return {name: (name,) for name in needed} if drawn else {}
    named = [value for values in given.values.values() for value in values]
    if {*given.values} != {*needed} or len({*named}) < len(named):
        hint = "; `validation: 0.1` draws it from train" if not drawn else ""
        problem = f"expected different values for {', '.join(needed)}{hint}"
        raise file.error(problem, "split", "values")
    return given.values


def cuts(file: File, given: keys.SplitKeys, by: str, unit: str) -> dict[str, float | str]:
    """`validation` and `test`; times stay the texts that they are."""
    parts: dict[str, float | str] = {"validation": given.validation, "test": given.test}
    starts: list[tuple[str, int]] = []  # how a time was read, and the time
    for name, value in parts.items():
        number = isinstance(value, float)
        if number and (0 < value < 1 or (by == "user_order" and value >= 1 and value % 1 == 0)):
            continue
        text = str(file.data["split"][name])
        if by != "time" or value == 0:
            raise file.error(f"expected {SHARE}{CUTS.get(by, '')}, got {text!r}", "split", name)
        form = unit or ("number" if number else "date")
        parts[name] = text
        try:
            starts.append((form, times.read(text, form)))
        except UserError as error:
            raise file.error(str(error), "split", name) from None
    forms, got = {form for form, _ in starts}, f"{parts['validation']} and {parts['test']}"
    if starts and (len(starts) == 1 or len(forms) > 1 or starts[0] >= starts[1]):
        problem = "expected two times of one form, that of validation before that of test"
        raise file.error(f"{problem}; got {got}", "split")
    if by != "column" and sum(v for v in parts.values() if isinstance(v, float) and v < 1) >= 1:
        raise file.error(f"{got} of the rows leave nothing to train", "split")
    return parts


# What the parts must have in common.


def linked(file: File, fields: list[FieldSpec]) -> tuple[FieldSpec, ...]:
    """The same fields; a sequence makes its rows as its target does, in the same table, and a
    companion has the lists of the history beside it."""
    kinds = {f.name: "a cross" if f.cross else f.kind for f in fields}
    single = {f.name: f for f in fields if kinds[f.name] == "categorical"}
    targets = {n: f for n, f in single.items() if f.functions == 1}
    histories = {f.name: f for f in fields if f.target}

    def other(name: str, fitting: dict, expected: str, *place: str) -> FieldSpec:
        """The field that a key names; UserError where it is none that fits."""
        if name not in fitting and (name in kinds or not fitting):
            kind = kinds.get(name, "no field")
            raise file.error(f"{name!r} is {kind}; expected {expected}", *place)
        file.choose("field", name, fitting, *place)
        return fitting[name]

    complete = []
    for field in fields:
        like: dict[str, FieldSpec] = {}  # {option: the field that has it}
        place = ("fields", field.name)
        for name in field.cross:
            other(name, single, "a categorical field that is no cross", *place, "cross")
        if field.target:
            key = "history" if field.history else "target"
            expected = "a categorical field that is no cross and has one row a value"
            target = other(field.target, targets, expected, *place, key)
            like |= dict.fromkeys(("table", "encoder", "min_count", "unknown", "size"), target)
        if field.beside:
            place = (*place, "beside")
            history = other(field.beside, histories, "a sequence with a target", *place)
            like |= dict.fromkeys(("max_values", "keep", "longest", "history"), history)
            if field.functions > 1:
                raise file.error("expected functions: 1, one row a value", *place)
            if not history.history and (field.gap or not field.value.column):
                raise file.error(f"expected a column of lists, as {field.beside!r} is", *place)
        same = {key: getattr(other, key) for key, other in like.items()}
        complete.append(dataclasses.replace(field, **same))
    return tuple(complete)


def graph(spec: Spec, file: File) -> None:
    """Tasks, their spaces and upstream tasks are as `dtn_jax.schema.Schema` has them."""
    try:
        tasks = [Task(t.name, t.kind, t.space, t.also_report, t.upstream) for t in spec.tasks]
        Schema(spec.name, [Field(field.name) for field in spec.fields], tasks)
    except UserError as error:
        names = (name or first for name, first in re.findall(r"'(.*?)'|(\S+) ->", str(error)))
        places = [(kind, name) for name in names for kind in ("fields", "tasks")]
        known = [place for place in places if place in file.lines]
        raise file.error(str(error), *next(iter(known), ("tasks",))) from None


def sampled(spec: Spec, file: File) -> None:
    """Negatives are sampled for binary tasks."""
    kinds = {task.name: task.kind for task in spec.tasks}
    for name in spec.sample_negatives:
        place = ("sample_negatives", name)
        file.choose("task", name, kinds, *place)
        if kinds[name] != "binary":
            raise file.error("it is a regression; expected a binary task", *place)


def leaks(spec: Spec, file: File) -> None:
    """Nothing but a label reads what a label is made of. The time column is that only where a label
    reads nothing else: of `order_time - t` it tells nothing alone."""
    labels: dict[str, TaskSpec] = {}  # {column: a task whose label reads it}
    for task in spec.tasks:
        for column in task.label.columns:
            if column != spec.time or len(task.label.columns) == 1:
                labels.setdefault(column, task)
    columns = ("group", "time", "weight", "loss_weight")
    reads = {(key,): (getattr(spec, key),) for key in columns}
    reads["split",] = (spec.split.column,)
    for field in spec.fields:
        columns = field.value.columns if field.value and not field.history else ()
        reads["fields", field.name] = (*columns, field.weights)
    for place, columns in reads.items():
        for column in filter(labels.__contains__, columns):
            task = f"task {labels[column].name!r} (line {labels[column].line})"
            problem = f"it reads {column!r}, a column of the label of {task}"
            raise file.error(f"{problem}: that would give the answer away", *place)


def same_tables(spec: Spec, file: File) -> None:
    """Fields share a table only where they make its rows in the same way."""
    first: dict[str, FieldSpec] = {}
    for field in spec.fields:
        other = first.setdefault(field.table, field)
        for key in ("encoder", "min_count", "size", "functions", "cross"):
            mine, theirs = (getattr(f, key) or "none" for f in (field, other))
            if mine != theirs:
                problem = f"it shares table {field.table!r} with {other.name!r} (line {other.line})"
                problem = f"{problem}, but has {key} {mine}, not {theirs}"
                raise file.error(problem, "fields", field.name)


def same_users(spec: Spec, file: File) -> None:
    """All histories are made user by user in the same way."""
    histories = spec.histories()
    for field in histories:
        mine, first = field.history.by, histories[0].history.by
        if mine != first:
            problem = f"it is by {mine!r}, that of {histories[0].name!r} by {first!r}"
            raise file.error(f"{problem}; expected one column", "fields", field.name, "history")


def timed(spec: Spec, unit: str) -> Spec:
    """The same schema once the unit of its time column is known, one of TIME_UNITS."""

    def known(value: Any) -> Any:
        if isinstance(value, Expression):
            return value.timed(spec.time, unit)
        if isinstance(value, tuple):
            return tuple(map(known, value))
        if dataclasses.is_dataclass(value):
            parts = {f.name: known(getattr(value, f.name)) for f in dataclasses.fields(value)}
            return dataclasses.replace(value, **parts)
        return value

    return dataclasses.replace(known(spec), time_unit=unit)


def fingerprint(spec: Spec) -> str:
    """SHA-256 of what a schema file means for a prepared set, as hex digits."""
    text = json.dumps(meaning(spec), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def meaning(spec: Spec) -> dict[str, Any]:
    """What a schema file means for a prepared set, as JSON has it.

    Comments, lines, the file's path, the order of keys, the spacing of expressions, texts about
    the set, roles and `positives_outside` do not count; the order of fields and of tasks does.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, Expression):
            return value.meaning
        if dataclasses.is_dataclass(value):
            names = [f.name for f in dataclasses.fields(value)]
            parts = {n: getattr(value, n) for n in names if n not in NO_MEANING}
            return {n: plain(v) for n, v in parts.items() if n not in SINCE or v != SINCE[n]}
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, tuple | list):
            return [plain(inner) for inner in value]
        return value

    return plain(spec)
