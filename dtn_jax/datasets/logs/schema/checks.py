"""What the parts of a schema file must have in common."""

from __future__ import annotations

import dataclasses
import difflib

from dtn_jax.datasets.logs.schema import forms
from dtn_jax.datasets.logs.schema.forms import Key, chosen
from dtn_jax.datasets.logs.schema.spec import FieldSpec, Spec, TaskSpec
from dtn_jax.datasets.logs.schema.yaml_lines import Node
from dtn_jax.errors import UserError
from dtn_jax.schema import ALL, Field, Schema, Task

_TWO_ROWS = "two rows a value (functions: 2), and a sequence one for each; expected functions: 1"
RAREST = 1e-9  # rate of negatives: beyond, float32 loses what their weight, 1 / rate, is added to


def check(spec: Spec, root: Node) -> None:
    """Raises UserError, with file and line, where the parts do not go together.

    Args:
      spec: all parts.
      root: of the file, for lines.
    """
    leaks(spec, root)
    users(spec, root)
    crosses(spec, root)
    tables(spec, root)
    graph(spec, root)


def label_columns(spec: Spec) -> dict[str, TaskSpec]:
    """{column: a task whose label reads it}. The time column is one only where a label reads
    nothing else: of `order_time - t` it tells nothing alone."""
    found: dict[str, TaskSpec] = {}
    for task in spec.tasks:
        for column in task.label.columns:
            if column != spec.time or len(task.label.columns) == 1:
                found.setdefault(column, task)
    return found


def leaks(spec: Spec, root: Node) -> None:
    """No field reads what a label is made of; group, time, weight and split are no labels."""
    labels = label_columns(spec)
    tasks = {task.name for task in spec.tasks}
    for field in spec.fields:
        columns = field.value.columns if field.value and not field.history else ()
        if field.name in tasks:
            raise _at(root, field).error(f"{field.name!r} is a task and cannot also be a field")
        for column in (*columns, *filter(None, [field.weights])):
            if column in labels:
                task = labels[column]
                raise _at(root, field).error(
                    f"field {field.name!r} reads {column!r}, a column of the label of task "
                    f"{task.name!r} (line {task.line}): the model would read the answer"
                )
    uses = {
        "group": (spec.group, "all rows of a group would have one class"),
        "time": (spec.time, "rows would be ordered by the answer"),
        "weight": (spec.weight, "rows would weigh by the answer"),
        "loss_weight": (spec.loss_weight, "rows would weigh by the answer"),
        "split": (spec.split.column, "each split would have one class"),
    }
    for key, (column, reason) in uses.items():
        if column in labels:
            task = labels[column]
            raise root.value[key].error(
                f"the {key} column {column!r} is a column of the label of task {task.name!r} "
                f"(line {task.line}): {reason}"
            )


def users(spec: Spec, root: Node) -> None:
    """All histories are made user by user in the same way."""
    histories = spec.histories()
    for field in histories[1:]:
        if field.history.by != histories[0].history.by:
            raise _at(root, field).error(
                f"the history of field {field.name!r} is by {field.history.by!r}, that of "
                f"{histories[0].name!r} by {histories[0].history.by!r}: expected one column"
            )


def with_targets(fields: tuple[FieldSpec, ...], root: Node) -> tuple[FieldSpec, ...]:
    """The same fields; each sequence makes its rows as its target does, in the same table."""
    by_name = {field.name: field for field in fields if field.kind == "categorical"}
    found = []
    for field in fields:
        if field.target:
            place = _at(root, field)
            key = "'of' in the history" if field.history else "target"
            target = by_name[chosen(place, f"{key} of {field.name!r}", field.target, by_name)]
            if target.functions > 1:
                raise place.error(
                    f"the target {target.name!r} of the sequence {field.name!r} has {_TWO_ROWS}"
                )
            if target.cross:
                raise place.error(
                    f"the target {target.name!r} of the sequence {field.name!r} is a cross; "
                    "expected a field with a column of its own"
                )
            same = ("table", "encoder", "min_count", "unknown", "size")
            field = dataclasses.replace(field, **{name: getattr(target, name) for name in same})
        found.append(field)
    return tuple(found)


def with_histories(fields: tuple[FieldSpec, ...], root: Node) -> tuple[FieldSpec, ...]:
    """The same fields; each companion keeps of its lists what the history beside it keeps, and is
    made from the log's own rows where that is."""
    histories = {field.name: field for field in fields if field.target}
    others = {field.name: field.kind for field in fields if not field.target}
    found = []
    for field in fields:
        if field.beside:
            place, told = _at(root, field), f"field {field.name!r} stands beside {field.beside!r}"
            if field.beside in others or not histories:
                kind = others.get(field.beside, "no field")
                is_ = "a companion itself" if kind == "sequence" else kind
                near = f", such as {next(iter(histories))}" if histories else ""
                raise place.error(
                    f"{told}, which is {is_}: expected a sequence with a target{near}"
                )
            chosen(place, f"history beside which {field.name!r} stands", field.beside, histories)
            if field.functions > 1:
                raise place.error(f"{told} and has {_TWO_ROWS}")
            if histories[field.beside].history is None and field.gap:
                raise place.error(
                    f"{told}, which is a column: expected a column of gaps; 'gap' is for histories "
                    "that are made from the log"
                )
            if histories[field.beside].history is None and not field.value.column:
                raise place.error(f"{told}, a list: expected a column of lists")
            same = ("max_values", "keep", "longest", "history")
            given = {name: getattr(histories[field.beside], name) for name in same}
            field = dataclasses.replace(field, **given)
        found.append(field)
    return tuple(found)


def crosses(spec: Spec, root: Node) -> None:
    by_name = {field.name: field for field in spec.fields}
    for field in spec.fields:
        for name in field.cross:
            place = _at(root, field)
            others = [f.name for f in spec.fields if f.kind == "categorical" and not f.cross]
            if name not in by_name:
                near = difflib.get_close_matches(name, others, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise place.error(
                    f"field {field.name!r} crosses {name!r}, which is no field.{hint} A cross is "
                    f"made of fields of this file: add {name} to `fields`"
                )
            other = by_name[name]
            if other.cross:
                raise place.error(f"field {field.name!r} crosses {name!r}, which is a cross itself")
            if other.kind != "categorical":
                raise place.error(
                    f"field {field.name!r} crosses {name!r}, which is {other.kind}: expected "
                    "categorical fields"
                )


def tables(spec: Spec, root: Node) -> None:
    """Fields share a table only where they make its rows in the same way."""
    first: dict[str, FieldSpec] = {}
    for field in spec.fields:
        other = first.setdefault(field.table, field)
        mine, theirs = _rows(field), _rows(other)
        for what in mine:
            if mine[what] != theirs[what]:
                raise _at(root, field).error(
                    f"field {field.name!r} shares table {field.table!r} with {other.name!r} (line "
                    f"{other.line}), but has {what} {mine[what]}, not {theirs[what]}"
                )


def _rows(field: FieldSpec) -> dict[str, object]:
    """What decides the rows of a field's table."""
    return {
        "encoder": field.encoder,
        "min_count": field.min_count,
        "size": field.size,
        "functions": field.functions,
        "cross": list(field.cross) or "none",
    }


def graph(spec: Spec, root: Node) -> None:
    """Spaces and upstream tasks, as `dtn_jax.schema.Schema` has them."""
    names = [task.name for task in spec.tasks]
    for task in spec.tasks:
        place = _at(root, task)
        for space in (task.space, *task.also_report):
            chosen(place, f"space of task {task.name!r}", space, [ALL, *names])
        for up in task.upstream:
            chosen(place, f"upstream task of {task.name!r}", up, names)
    tasks = tuple(Task(t.name, t.kind, t.space, t.also_report, t.upstream) for t in spec.tasks)
    fields = tuple(Field(field.name) for field in spec.fields)
    try:
        Schema(spec.name, fields, tasks)
    except UserError as error:
        told = str(error)
        lines = [t.line for t in spec.tasks if repr(t.name) in told or f"{t.name} ->" in told]
        place = Node("", spec.path, min(lines, default=root.value["tasks"].line))
        raise place.error(told) from None


def rates(node: Node, tasks: tuple[TaskSpec, ...]) -> dict[str, float]:
    """Reads `sample_negatives`."""
    if not isinstance(node.value, dict):
        raise node.expected("sample_negatives", "{task: rate}")
    kinds = {task.name: task.kind for task in tasks}
    found = {}
    for name, inner in node.value.items():
        place = Node("", node.path, node.keys[name])
        chosen(place, "task in sample_negatives", name, kinds)
        if kinds[name] != "binary":
            raise place.error(f"sample_negatives: {name!r} is a regression, expected a binary task")
        rate = forms.number(inner, Key("number", ""), f"rate of {name!r} in sample_negatives")
        if not RAREST <= rate <= 1:
            raise inner.expected(
                f"rate of {name!r} in sample_negatives", f"a number from {RAREST:g} to 1"
            )
        found[name] = rate
    return found


def _at(root: Node, part: FieldSpec | TaskSpec) -> Node:
    return Node("", root.path, part.line)
