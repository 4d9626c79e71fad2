"""Tasks, the time column and the input, each read from its node; how a node is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dtn_jax.datasets.logs.formula import Expression, of_column, parse
from dtn_jax.datasets.logs.schema import forms, keys
from dtn_jax.datasets.logs.schema.forms import Key, chosen
from dtn_jax.datasets.logs.schema.spec import InputSpec, TaskSpec
from dtn_jax.datasets.logs.schema.yaml_lines import Node
from dtn_jax.errors import UserError
from dtn_jax.schema import Task


def options(node: Node, known: Mapping[str, Key], what: str) -> dict[str, Any]:
    """{key: its value}, of the keys that are given; `key: null` is as good as none.

    Raises:
      UserError: not a mapping, an unknown key, a value that is none of the key's form.
    """
    if not isinstance(node.value, dict):
        raise node.expected(what, f"keys and values, of {', '.join(known)}")
    found = {}
    for key, value in node.value.items():
        place = Node("", node.path, node.keys[key])
        chosen(place, f"key of {what}", key, known)
        if value.null and not value.empty and known[key].form != "value or null":
            continue
        found[key] = forms.READERS[known[key].form](value, known[key], f"{key} of {what}")
    return found


def having(
    node: Node, given: Mapping[str, Any], known: Mapping[str, Key], what: str, *words: str
) -> None:
    """Raises UserError where an option is given that no one of `words` has."""
    for key in given:
        only = known[key].only
        if only and not set(only) & set(words):
            place = Node("", node.path, node.keys[key])
            raise place.error(
                f"{key} is an option of {' or '.join(only)}; {what} is "
                f"{' with the encoder '.join(words)}"
            )


def named(node: Node, what: str) -> Iterator[tuple[str, Node]]:
    """(name, options) of a mapping {name: options}, or of a list of names or of mappings."""
    if isinstance(node.value, dict):
        for name, inner in node.value.items():
            line = node.keys[name]
            if not name:
                raise Node("", node.path, line).error(f"a {what} without a name")
            if inner.null:
                inner = Node({}, node.path, line)
            if not isinstance(inner.value, dict):
                raise inner.expected(f"{what} {name!r}", "its options, such as {kind: …}")
            if "name" in inner.value:
                raise inner.value["name"].error(f"{what} {name!r} has its name before the colon")
            yield name, Node(inner.value, node.path, line, keys=inner.keys)
    elif isinstance(node.value, list):
        seen: dict[str, int] = {}
        for item in node.value:
            if isinstance(item.value, dict):
                if "name" not in item.value:
                    raise item.error(f"a {what} without a name: expected a key 'name'")
                name = forms.text(item.value["name"], Key("text", ""), f"name of a {what}")
            elif item.value and isinstance(item.value, str):
                name, item = item.value, Node({}, node.path, item.line)
            else:
                raise item.expected(f"a {what}", "a name, or {name: …, kind: …}")
            if name in seen:
                raise item.error(f"{what} {name!r} is listed twice, first in line {seen[name]}")
            seen[name] = item.line
            yield name, item
    else:
        raise node.expected(f"{what}s", "{name: options}, or a list of names")


def expression(node: Node, key: str, time: str, unit: str) -> Expression:
    inner = node.value[key]
    return parse(inner.value, f"{inner.where}: {key}", time, unit)


def task(name: str, node: Node, time: str, unit: str) -> TaskSpec:
    what = f"task {name!r}"
    given = options(node, keys.TASK, what)
    given.pop("name", None)
    having(node, given, keys.TASK, what, given.get("kind", "binary"))
    given["least"], given["most"] = given.pop("range", (None, None))
    given["label"] = expression(node, "label", time, unit) if "label" in given else of_column(name)
    if "known" in given:
        given["known"] = expression(node, "known", time, unit)
    try:
        Task(name, given.get("kind", "binary"))
    except UserError as error:
        raise node.error(str(error)) from None
    return TaskSpec(name=name, line=node.line, **given)


def time_column(node: Node) -> tuple[str, str]:
    """(column, unit)."""
    if isinstance(node.value, dict):
        given = options(node, keys.TIME, "time")
        if "column" not in given:
            raise node.error("time: expected a key 'column'")
        return given["column"], given.get("unit", "")
    return forms.text(node, Key("text", ""), "time"), ""


def input_(node: Node) -> InputSpec:
    given = options(node, keys.INPUT, "input")
    if "format" in given:
        having(node, given, keys.INPUT, "the format", given["format"])
    if "separator" in given and (
        len(given["separator"].encode()) != 1 or given["separator"] in '"\r\n'
    ):
        raise node.value["separator"].expected("separator of input", 'one character such as "\\t"')
    columns = given.get("columns", ())
    twice = [name for i, name in enumerate(columns) if name in columns[:i]]
    if twice:
        raise node.value["columns"].error(f"columns of input: {twice[0]!r} is listed twice")
    return InputSpec(**given)
