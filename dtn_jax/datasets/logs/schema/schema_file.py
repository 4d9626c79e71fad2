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
import difflib
import hashlib
import json
import pathlib
import re
from typing import Any

from dtn_jax.datasets.logs import times
from dtn_jax.datasets.logs.formula import Expression, of_column
from dtn_jax.datasets.logs.schema import keys, yaml_lines
from dtn_jax.datasets.logs.schema.keys import COMPANION, CROSS, ENCODERS
from dtn_jax.datasets.logs.schema.spec import (
    LISTED,
    FieldSpec,
    HistorySpec,
    InputSpec,
    Spec,
    SplitSpec,
    TaskSpec,
)
from dtn_jax.datasets.logs.schema.yaml_lines import File, Null, shown
from dtn_jax.datasets.preparation.numbers import BINS
from dtn_jax.errors import UserError
from dtn_jax.field import SCALED
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
NO_MEANING = ("line", "path", "about", "positives_outside")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # it is a folder's, too


def load(path: str | pathlib.Path) -> Spec:
    """Reads a schema file.

    Raises:
      UserError: there is no such file, or what it says makes no sense, with file, line, what was
        got and expected.
    """
    file = pathlib.Path(path).expanduser()
    if not file.exists():
        beside = [p for p in file.parent.glob("*") if p.suffix in (".yaml", ".yml", ".json")]
        names = sorted(p.name for p in beside)
        near = difflib.get_close_matches(file.name, names, n=1, cutoff=0)
        hint = f"; did you mean {file.with_name(near[0])}?" if near else ""
        raise UserError(f"there is no schema file {str(path)!r}{hint}")
    return read(yaml_lines.load(str(file)))


def loads(text: str, path: str = "schema.yaml") -> Spec:
    """Reads a schema file's text; `path` is its name in messages. Raises as `load`."""
    return read(yaml_lines.loads(text, path))


def read(file: File) -> Spec:
    """A checked Spec from a schema file's content; raises UserError with the file and the line."""
    given = keys.FileKeys.read(file, file.data, "the schema file")
    name = given.name or pathlib.Path(file.path).stem
    if not NAME.fullmatch(name):
        told = "names a folder: expected letters, digits, '_' and '-'"
        raise file.error(f"the name {name!r} of the data set {told}", "name")
    time, unit = "", ""
    if "time" in given:
        column = {"column": given.time} if isinstance(given.time, str) else given.time
        column = keys.TimeKeys.read(file, column, "time", "time")
        time, unit = column.column, column.unit
    options = dict(given) | {"name": name, "path": file.path, "time": time}
    tasks, fields = (named(file, key, getattr(given, key)) for key in ("tasks", "fields"))
    options["tasks"] = tuple(task(file, name, own) for name, own in tasks.items())
    fields = [field(file, name, own, given.group) for name, own in fields.items()]
    options["fields"] = linked(file, fields)
    options["split"] = SplitSpec(by="time" if time else "random")
    if "split" in given:
        options["split"] = split(file, given.split, time, unit, given.group)
    options["input"] = InputSpec()
    if "input" in given:
        input = keys.InputKeys.read(file, given.input, "input", "input")
        input.check_only(input.format or "csv")
        options["input"] = InputSpec(**dict(input))
    spec = Spec(**options)
    for check in (graph, sampled, leaks, same_tables, same_users):
        check(spec, file)
    return timed(spec, unit)


# The parts.


def named(file: File, key: str, data: dict | list) -> dict[str, dict]:
    """{name: its options}, of a mapping, or of a list of names or of mappings with a name.

    Their places are (key, name) in both.
    """
    listed, parts = isinstance(data, list), {}
    for at, options in enumerate(data) if listed else data.items():
        own = options.get("name") if isinstance(options, dict) else None
        name = (own or options) if listed else at
        what = f"{key.removesuffix('s')} {shown(name)}"
        if not name or not isinstance(name, str):
            told = "expected a name, or {name: …, kind: …}"
            raise file.error(f"a {key.removesuffix('s')} without a name; {told}", key, at)
        if own and not listed:
            raise file.error(f"{what} has its name before the colon", key, at, "name")
        if name in parts:
            first = file.lines[key, name]
            raise file.error(f"{what} is listed twice, first in line {first}", key, at)
        if options is None or isinstance(options, Null) or (listed and not own):
            options = {}
        if not isinstance(options, dict):
            told = f"expected its options, such as {{kind: …}}, got {shown(options)}"
            raise file.error(f"{what}: {told}", key, at)
        if listed:
            within = {place: line for place, line in file.lines.items() if place[:2] == (key, at)}
            file.lines.update({(key, name, *place[2:]): n for place, n in within.items()})
        parts[name] = options
    return parts


def field(file: File, name: str, data: dict, group: str) -> FieldSpec:
    """A field of the schema file; `group` is the file's column of groups."""
    given = keys.FieldKeys.read(file, data, f"field {name!r}", "fields", name)
    listed = "history" in given or "beside" in given
    kind = role = given.kind or ("sequence" if listed else "categorical")
    if kind == "sequence" and "beside" in given:
        role = COMPANION
    if kind == "categorical" and "cross" in given:
        role = CROSS
    encoder = given.encoder or ENCODERS[role][0]
    if encoder not in ENCODERS[role]:
        others = " or ".join(other for other, words in ENCODERS.items() if encoder in words)
        told = f"{encoder} is an encoder of {others}; {role} has {', '.join(ENCODERS[role])}"
        raise given.error(told, "encoder")
    given.check_only(role, encoder, f"{role} with the encoder {encoder}")
    sources = [key for key in SOURCES if key in given and getattr(given, key) is not False]
    sources += [key for key in OF_LISTS if key in given and "history" in given]
    if len(sources) > 1:
        raise given.error(f"it has {sources[0]} too; expected one of them", sources[1])
    for word in (kind, encoder):
        if (key := NEEDED.get(word)) and key not in given:
            raise given.error(f"expected a {key} for {word}, such as {key}: 1000")
    if role == "sequence" and "target" not in given and "history" not in given:
        hint = "target: item, a history, or, of a companion, beside: viewed"
        raise given.error(f"it is a sequence: expected a target, such as {hint}")
    if given.value and role in LISTED and not given.value.column:
        raise given.error(f"it is a {role}: expected a column of lists", "value")
    if given.functions > 1 and given.pooling != "sum":
        told = "two rows a value are added; expected pooling: sum, or functions: 1"
        raise given.error(told, "pooling")
    if given.weights and given.pooling == "max":
        raise given.error("max pooling has no use for weights", "weights")
    options = dict(given) | {"name": name, "kind": kind, "encoder": encoder}
    options |= {"table": given.table or name, "line": file.lines["fields", name]}
    if role == "sequence":
        usual = {"keep": "last", "pooling": "mean"}
        options |= {key: word for key, word in usual.items() if key not in given}
    if "history" in given:
        place = "fields", name, "history"
        made = keys.HistoryKeys.read(file, given.history, f"history of field {name!r}", *place)
        if not (by := made.by or group):
            raise made.error("expected 'by', the column of users, as in by: user_id")
        options["history"] = HistorySpec(by=by, where=made.where)
        options |= {"target": made.of, "max_values": made.last}
    column = options.pop("column")
    if column or not sources:
        options["value"] = of_column(column or name)
    if given.embedding == "piecewise_linear" and "bins" not in given:
        options["bins"] = BINS
    for text in filter(None, given.scored_as if kind == "numeric" else ()):
        if not NUMBER.fullmatch(text):
            raise given.error(f"expected a number, got {text!r}", "scored_as")
    return FieldSpec(**options)


def task(file: File, name: str, data: dict) -> TaskSpec:
    """A task of the schema file."""
    given = keys.TaskKeys.read(file, data, f"task {name!r}", "tasks", name)
    given.check_only(given.kind)
    options = dict(given) | {"name": name, "line": file.lines["tasks", name]}
    options["label"] = given.label or of_column(name)
    options["least"], options["most"] = least, most = options.pop("range")
    if least is not None and least >= most:
        told = f"expected the smaller number first, got [{least:g}, {most:g}]"
        raise given.error(told, "range")
    return TaskSpec(**options)


def split(file: File, data: Any, time: str, unit: str, group: str) -> SplitSpec:
    """How rows are split.

    Args:
      file: the file.
      data: a word, or a mapping.
      time, unit, group: the columns of times, in which unit, and of groups.
    """
    data = {"by": data} if isinstance(data, str) else data
    given = keys.SplitKeys.read(file, data, "split", "split")
    by = given.by or ("time" if time else "random")
    given.check_only(by)
    if by in ("time", "user_order") and not time:
        raise given.error(f"{by} needs the time column, as in time: t")
    if by in ("group", "user_order") and not group:
        raise given.error(f"{by} needs the column of groups, as in group: user_id")
    options = dict(given) | {"by": by, "line": file.lines["split",]}
    if by == "column":
        options["values"] = values_of(given, "validation" in given)
    return SplitSpec(**options | cuts(given, data, by, unit))


def values_of(given: keys.SplitKeys, drawn: bool) -> dict[str, tuple[str, ...]]:
    """{split: its values}; none of validation where that is `drawn` from train."""
    if not given.column:
        raise given.error("column needs the key 'column'")
    if "seed" in given and not drawn:
        raise given.error("nothing is drawn without validation", "seed")
    needed = SPLITS[::2] if drawn else SPLITS
    if "values" not in given:
        return {name: (name,) for name in needed} if drawn else {}
    if drawn and "validation" in given.values:
        raise given.error("it is a share of train, and values name some too", "validation")
    seen: dict[str, str] = {}
    for name, values in given.values.items():
        for value in values:
            if value in seen:
                raise given.error(f"{value!r} is in {seen[value]} and in {name}", "values")
            seen[value] = name
    for name in needed:
        if name not in seen.values():
            hint = "; `validation: 0.1` draws it from train" if name == "validation" else ""
            raise given.error(f"{name} has none{hint}", "values")
    return given.values


def cuts(given: keys.SplitKeys, data: dict, by: str, unit: str) -> dict[str, float | str]:
    """`validation` and `test`; times stay the texts that they are."""
    found: dict[str, float | str] = {"validation": given.validation, "test": given.test}
    starts: list[tuple[str, int]] = []  # how a time was read, and the time
    for name, value in found.items():
        number = isinstance(value, float)
        if number and (0 < value < 1 or (by == "user_order" and value >= 1 and value % 1 == 0)):
            continue
        if by != "time" or value == 0:
            raise given.error(f"expected {SHARE}{CUTS.get(by, '')}, got {shown(data[name])}", name)
        form = unit or ("number" if number else "date")
        found[name] = str(data[name])
        try:
            starts.append((form, times.read(data[name], form)))
        except UserError as error:
            raise given.error(str(error), name) from None
    forms, got = {form for form, _ in starts}, f"{found['validation']} and {found['test']}"
    if starts and (len(starts) == 1 or len(forms) > 1 or starts[0] >= starts[1]):
        told = "expected two times of one form, that of validation before that of test"
        raise given.error(f"{told}; got {got}")
    if by != "column" and sum(v for v in found.values() if isinstance(v, float) and v < 1) >= 1:
        raise given.error(f"validation and test are {got} of the rows: nothing is left to train")
    return found


# What the parts must have in common.


def linked(file: File, fields: list[FieldSpec]) -> tuple[FieldSpec, ...]:
    """The same fields; a sequence makes its rows as its target does, in the same table, and a
    companion has the lists of the history beside it."""
    kinds = {f.name: "a cross" if f.cross else f.kind for f in fields}
    single = {f.name: f for f in fields if kinds[f.name] == "categorical"}
    targets = {n: f for n, f in single.items() if f.functions == 1}
    histories = {f.name: f for f in fields if f.target}

    def other(field: FieldSpec, key: str, name: str, fitting: dict, expected: str) -> FieldSpec:
        """The field that a key names; UserError where it is none that fits."""
        what, place = f"{key} of field {field.name!r}", ("fields", field.name, key)
        if name not in fitting and (name in kinds or not fitting):
            kind = kinds.get(name, "no field")
            raise file.error(f"{what}: {name!r} is {kind}; expected {expected}", *place)
        file.choose(what, name, fitting, *place)
        return fitting[name]

    found = []
    for field in fields:
        like: dict[str, FieldSpec] = {}  # {option: the field that has it}
        for name in field.cross:
            other(field, "cross", name, single, "a categorical field that is no cross")
        if field.target:
            key = "'of' in the history" if field.history else "target"
            expected = "a categorical field that is no cross and has one row a value"
            target = other(field, key, field.target, targets, expected)
            like |= dict.fromkeys(("table", "encoder", "min_count", "unknown", "size"), target)
        if field.beside:
            history = other(field, "beside", field.beside, histories, "a sequence with a target")
            like |= dict.fromkeys(("max_values", "keep", "longest", "history"), history)
            told = "" if field.functions == 1 else "expected functions: 1, one row a value"
            if not history.history and (field.gap or not field.value.column):
                told = f"{field.beside!r} is a column of lists; expected a column of lists, no gap"
            if told:
                what = f"beside of field {field.name!r}"
                raise file.error(f"{what}: {told}", "fields", field.name, "beside")
        same = {key: getattr(other, key) for key, other in like.items()}
        found.append(dataclasses.replace(field, **same))
    return tuple(found)


def graph(spec: Spec, file: File) -> None:
    """Tasks, their spaces and upstream tasks are as `dtn_jax.schema.Schema` has them."""
    try:
        tasks = [Task(t.name, t.kind, t.space, t.also_report, t.upstream) for t in spec.tasks]
        Schema(spec.name, [Field(field.name) for field in spec.fields], tasks)
    except UserError as error:
        names = (name or first for name, first in re.findall(r"'(.*?)'|(\S+) ->", str(error)))
        places = [place for name in names for place in (("fields", name), ("tasks", name))]
        places = [place for place in places if place in file.lines]
        raise file.error(str(error), *next(iter(places), ("tasks",))) from None


def sampled(spec: Spec, file: File) -> None:
    """Negatives are sampled for binary tasks."""
    kinds = {task.name: task.kind for task in spec.tasks}
    for name in spec.sample_negatives:
        file.choose("task in sample_negatives", name, kinds, "sample_negatives", name)
        if kinds[name] != "binary":
            told = f"sample_negatives: {name!r} is a regression, expected a binary task"
            raise file.error(told, "sample_negatives", name)


def leaks(spec: Spec, file: File) -> None:
    """Nothing but a label reads what a label is made of. The time column is that only where a label
    reads nothing else: of `order_time - t` it tells nothing alone."""
    labels: dict[str, TaskSpec] = {}  # {column: a task whose label reads it}
    for task in spec.tasks:
        for column in task.label.columns:
            if column != spec.time or len(task.label.columns) == 1:
                labels.setdefault(column, task)
    columns = ("group", "time", "weight", "loss_weight")
    reads = [((key,), f"the {key}", (getattr(spec, key),)) for key in columns]
    reads.append((("split",), "the split", (spec.split.column,)))
    for field in spec.fields:
        columns = field.value.columns if field.value and not field.history else ()
        reads.append((("fields", field.name), f"field {field.name!r}", (*columns, field.weights)))
    for place, what, columns in reads:
        for column in filter(labels.__contains__, columns):
            task = f"task {labels[column].name!r} (line {labels[column].line})"
            told = f"a column of the label of {task}: it would give the answer away"
            raise file.error(f"{what} reads {column!r}, {told}", *place)


def same_tables(spec: Spec, file: File) -> None:
    """Fields share a table only where they make its rows in the same way."""
    first: dict[str, FieldSpec] = {}
    for field in spec.fields:
        other = first.setdefault(field.table, field)
        for key in ("encoder", "min_count", "size", "functions", "cross"):
            mine, theirs = (getattr(f, key) or "none" for f in (field, other))
            if mine != theirs:
                what = f"field {field.name!r} shares table {field.table!r} with {other.name!r}"
                told = f"{what} (line {other.line}), but has {key} {mine}, not {theirs}"
                raise file.error(told, "fields", field.name)


def same_users(spec: Spec, file: File) -> None:
    """Histories are in time, and all are made user by user in the same way."""
    for field in spec.histories():
        own, first = field.history.by, spec.histories()[0]
        if not spec.time or own != first.history.by:
            reason = "expected a time column, such as time: t"
            if spec.time:
                users = f"that of {first.name!r} by {first.history.by!r}"
                reason = f"it is by {own!r}, {users}: expected one column"
            told = f"history of field {field.name!r}: {reason}"
            raise file.error(told, "fields", field.name, "history")


def timed(spec: Spec, unit: str) -> Spec:
    """The same schema once the unit of its time column is known, one of TIME_UNITS."""

    def known(value: Any) -> Any:
        if isinstance(value, Expression):
            return value.timed(spec.time, unit)
        if isinstance(value, tuple):
            return tuple(map(known, value))
        if dataclasses.is_dataclass(value):
            own = {f.name: known(getattr(value, f.name)) for f in dataclasses.fields(value)}
            return dataclasses.replace(value, **own)
        return value

    return dataclasses.replace(known(spec), time_unit=unit)


def fingerprint(spec: Spec) -> str:
    """SHA-256 of what a schema file means for a prepared set, as hex digits."""
    text = json.dumps(meaning(spec), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def meaning(spec: Spec) -> dict[str, Any]:
    """What a schema file means for a prepared set, as JSON has it.

    Comments, lines, the file's path, the order of keys, the spacing of expressions, texts about
    the set and `positives_outside` do not count; the order of fields and of tasks does.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, Expression):
            return value.meaning
        if dataclasses.is_dataclass(value):
            names = [f.name for f in dataclasses.fields(value)]
            told = {n: getattr(value, n) for n in names if n not in NO_MEANING}
            return {n: plain(v) for n, v in told.items() if n not in SINCE or v != SINCE[n]}
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, tuple | list):
            return [plain(inner) for inner in value]
        return value

    return plain(spec)
