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

from dtn_jax.datasets.logs.formula import Expression
from dtn_jax.datasets.logs.schema import parts, yaml_lines
from dtn_jax.datasets.logs.schema.keys import FileKeys, InputKeys, TimeKeys
from dtn_jax.datasets.logs.schema.spec import FieldSpec, InputSpec, Spec, TaskSpec
from dtn_jax.datasets.logs.schema.yaml_lines import Node
from dtn_jax.errors import UserError
from dtn_jax.field import SCALED
from dtn_jax.schema import Field, Schema, Task

# Younger keys: no part of the meaning where they have this default.
SINCE = {
    "keep": "first",
    "scored_as": (),
    "optional": False,
    "embedding": SCALED,
    "bins": 0,
    "target": "",
    "history": None,
    "beside": "",
    "gap": False,
    "loss_weight": "",
}
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
        near = difflib.get_close_matches(file.name, names, n=1, cutoff=0) if names else []
        hint = f"; did you mean {file.with_name(near[0])}?" if near else ""
        raise UserError(f"there is no schema file {str(path)!r}{hint}")
    return read(yaml_lines.load(str(file)))


def loads(text: str, path: str = "schema.yaml") -> Spec:
    """Reads a schema file's text; `path` is its name in messages. Raises as `load`."""
    return read(yaml_lines.loads(text, path))


def read(root: Node) -> Spec:
    """A checked Spec from a schema file's tree; raises UserError with the file and the line."""
    given = FileKeys.read(root, "the schema file")
    for key in ("fields", "tasks"):
        if not getattr(given, key):
            raise root.at(key).error(f"a schema file needs {key}, at least one: {key}: {{name: …}}")
    name = given.name or pathlib.Path(root.path).stem
    if not NAME.fullmatch(name):
        raise root.at("name").error(
            f"the name {name!r} of the data set names a folder: expected letters, digits, '_' and "
            "'-'"
        )
    time, unit, group = "", "", given.group
    if "time" in given:
        column = TimeKeys.read(root.at("time").under("column"), "time")
        time, unit = column.column, column.unit
    tasks = parts.named(root.at("tasks"), "task").items()
    fields = parts.named(root.at("fields"), "field").items()
    spec = Spec(
        name=name,
        tasks=tuple(parts.task(name, node) for name, node in tasks),
        fields=linked([parts.field(name, node, group) for name, node in fields], root),
        split=parts.split(root.at("split") if "split" in given else None, time, unit, group),
        time=time,
        group=group,
        weight=given.weight,
        loss_weight=given.loss_weight,
        sample_negatives=given.sample_negatives,
        input=input_spec(root.at("input")) if "input" in given else InputSpec(),
        about=given.about,
        path=root.path,
    )
    for check in (graph, sampled, leaks, same_tables, same_users):
        check(spec, root)
    return timed(spec, unit)


def input_spec(node: Node) -> InputSpec:
    given = InputKeys.read(node, "input")
    if given.format:
        given.check_only(given.format)
    return InputSpec(**dict(given))


# What the parts must have in common.


def at(root: Node, part: FieldSpec | TaskSpec) -> Node:
    """Where a field or a task stands."""
    return Node("", root.path, part.line)


def linked(fields: list[FieldSpec], root: Node) -> tuple[FieldSpec, ...]:
    """The same fields; a sequence makes its rows as its target does, in the same table, and a
    companion has the lists of the history beside it."""
    every = {field.name: field for field in fields}
    single = {n: f for n, f in every.items() if f.kind == "categorical" and not f.cross}
    targets = {n: f for n, f in single.items() if f.functions == 1}
    histories = {n: f for n, f in every.items() if f.target}
    found = []
    for field in fields:
        place, what = at(root, field), f"field {field.name!r}"

        def other(key: str, name: str, fitting: dict[str, FieldSpec], expected: str) -> FieldSpec:
            """The field that this one names; UserError where it is none that fits."""
            if name not in fitting and (name in every or not fitting):
                kind = every[name].kind if name in every else "no field"
                raise place.error(f"{key} of {what}: {name!r} is {kind}; expected {expected}")
            place.choose(f"{key} of {what}", name, fitting)
            return fitting[name]

        for name in field.cross:
            other("cross", name, single, "a categorical field that is no cross")
        if field.target:
            key = "history" if field.history else "target"
            expected = "a categorical field that is no cross and has one row a value"
            target = other(key, field.target, targets, expected)
            same = ("table", "encoder", "min_count", "unknown", "size")
            field = dataclasses.replace(field, **{key: getattr(target, key) for key in same})
        if field.beside:
            history = other("beside", field.beside, histories, "a sequence with a target")
            if field.functions > 1:
                raise place.error(f"beside of {what}: expected functions: 1, one row a value")
            if not history.history and (field.gap or not field.value.column):
                expected = "expected a column of lists; 'gap' is for histories that are made"
                raise place.error(f"beside of {what}: {field.beside!r} is a column; {expected}")
            same = ("max_values", "keep", "longest", "history")
            field = dataclasses.replace(field, **{key: getattr(history, key) for key in same})
        found.append(field)
    return tuple(found)


def graph(spec: Spec, root: Node) -> None:
    """Tasks, their spaces and upstream tasks are as `dtn_jax.schema.Schema` has them."""
    try:
        tasks = [Task(t.name, t.kind, t.space, t.also_report, t.upstream) for t in spec.tasks]
        Schema(spec.name, [Field(field.name) for field in spec.fields], tasks)
    except UserError as error:
        parts = {part.name: part for part in (*spec.tasks, *spec.fields)}
        names = (name or first for name, first in re.findall(r"'(.*?)'|(\S+) ->", str(error)))
        part = next((parts[name] for name in names if name in parts), None)
        raise (at(root, part) if part else root.at("tasks")).error(str(error)) from None


def sampled(spec: Spec, root: Node) -> None:
    """Negatives are sampled for binary tasks."""
    kinds = {task.name: task.kind for task in spec.tasks}
    for name in spec.sample_negatives:
        place = root.at("sample_negatives", name)
        place.choose("task in sample_negatives", name, kinds)
        if kinds[name] != "binary":
            problem = f"sample_negatives: {name!r} is a regression, expected a binary task"
            raise place.error(problem)


def leaks(spec: Spec, root: Node) -> None:
    """Nothing but a label reads what a label is made of. The time column is that only where a label
    reads nothing else: of `order_time - t` it tells nothing alone."""
    labels: dict[str, TaskSpec] = {}  # {column: a task whose label reads it}
    for task in spec.tasks:
        for column in task.label.columns:
            if column != spec.time or len(task.label.columns) == 1:
                labels.setdefault(column, task)
    uses = {
        "group": (spec.group, "all rows of a group would have one class"),
        "time": (spec.time, "rows would be ordered by the answer"),
        "weight": (spec.weight, "rows would weigh by the answer"),
        "loss_weight": (spec.loss_weight, "rows would weigh by the answer"),
        "split": (spec.split.column, "each split would have one class"),
    }
    reads = [(root.at(key), f"the {key}", (use[0],), use[1]) for key, use in uses.items()]
    for field in spec.fields:
        columns = field.value.columns if field.value and not field.history else ()
        what, reason = f"field {field.name!r}", "the model would read the answer"
        reads.append((at(root, field), what, (*columns, field.weights), reason))
    for place, what, columns, reason in reads:
        for column in filter(labels.__contains__, columns):
            task = f"task {labels[column].name!r} (line {labels[column].line})"
            raise place.error(f"{what} reads {column!r}, a column of the label of {task}: {reason}")


def same_tables(spec: Spec, root: Node) -> None:
    """Fields share a table only where they make its rows in the same way."""
    first: dict[str, FieldSpec] = {}
    for field in spec.fields:
        other = first.setdefault(field.table, field)
        for key in ("encoder", "min_count", "size", "functions", "cross"):
            mine, theirs = (getattr(f, key) or "none" for f in (field, other))
            if mine != theirs:
                raise at(root, field).error(
                    f"field {field.name!r} shares table {field.table!r} with {other.name!r} (line "
                    f"{other.line}), but has {key} {mine}, not {theirs}"
                )


def same_users(spec: Spec, root: Node) -> None:
    """Histories are in time, and all are made user by user in the same way."""
    for field in spec.histories():
        own, first = field.history.by, spec.histories()[0]
        if not spec.time or own != first.history.by:
            reason = "expected a time column, such as time: t"
            if spec.time:
                reason = f"by {own!r}; that of {first.name!r} is by {first.history.by!r}"
            raise at(root, field).error(f"history of field {field.name!r}: {reason}")


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
