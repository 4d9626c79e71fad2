"""Fields, tasks, the time column and the input, each read from its node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dtn_jax.datasets.logs.formula.expression import Expression, of_column, parse
from dtn_jax.datasets.logs.schema import forms, keys
from dtn_jax.datasets.logs.schema.forms import Key, chosen
from dtn_jax.datasets.logs.schema.spec import (
    COMPANION,
    ENCODERS,
    LISTED,
    FieldSpec,
    HistorySpec,
    InputSpec,
    TaskSpec,
)
from dtn_jax.datasets.logs.schema.yaml_lines import Node
from dtn_jax.datasets.preparation.numbers import BINS
from dtn_jax.errors import UserError
from dtn_jax.schema import Task

_OF_HISTORY = ("target", "max_values", "keep", "longest", "pooling")  # a companion has none itself
_TWO_ROWS = {
    "mean": "pooling: mean would divide by the number of rows, not of values",
    "max": "pooling: max would choose among single rows",
}


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


def field(name: str, node: Node, time: str, unit: str, group: str) -> FieldSpec:
    what = f"field {name!r}"
    given = options(node, keys.FIELD, what)
    given.pop("name", None)
    listed = {"history", "beside"} & given.keys()  # what only a sequence has
    kind = given.setdefault("kind", "sequence" if listed else "categorical")
    role = COMPANION if kind == "sequence" and "beside" in given else kind
    encoder = given.setdefault("encoder", ENCODERS[role][0])
    if encoder not in ENCODERS[role]:
        others = [other for other, words in ENCODERS.items() if encoder in words]
        hint = f" Fields of the kind {' or '.join(others)} have it." if others else ""
        try:
            chosen(node.value["encoder"], f"encoder of a {role} field", encoder, ENCODERS[role])
        except UserError as error:
            raise UserError(f"{error}{hint}") from None
    if role == COMPANION:
        for key in [key for key in _OF_HISTORY if key in given]:
            raise node.value[key].error(
                f"{what} stands beside {given['beside']!r}, whose {key} it has: expected beside "
                f"without {key}"
            )
    having(node, given, keys.FIELD, what, role, encoder)
    if "history" in given:
        for key in {"column", "value", "target", "max_values", "keep", "longest"} & given.keys():
            raise node.value[key].error(f"{what} has a history, in place of {key!r}: expected one")
        given |= history(given["history"], what, time, unit, group)
    if role == "sequence":
        if "target" not in given:
            raise node.error(
                f"{what} is a sequence: expected a target, such as target: item, a history, or the "
                "sequence beside which it stands, such as beside: viewed"
            )
        given = {"keep": "last", "pooling": "mean"} | given
    sources = [key for key in ("column", "value", "cross", "gap") if key in given]
    if len(sources) > 1:
        raise node.error(f"{what} has both {' and '.join(sources)}: expected one of them")
    given.setdefault("table", name)
    column = given.pop("column", name)
    if "cross" in given:
        if len(set(given["cross"])) != 2 or len(given["cross"]) != 2:
            raise node.value["cross"].error(f"cross of {what}: expected two fields")
        if "unknown" in given:
            raise node.value["unknown"].error(
                f"{what} is a cross: 'unknown' is an option of the fields that it crosses"
            )
    elif "value" in given:
        given["value"] = expression(node, "value", time, unit)
        if kind in LISTED and role != COMPANION and not given["value"].column:
            raise node.value["value"].error(f"{what} is a {kind}: expected a column of lists")
    elif "history" not in given and not given.get("gap"):
        given["value"] = of_column(column)
    if "cross" in given:
        for key in {"scored_as", "optional"} & given.keys():
            raise node.value[key].error(
                f"{what} is a cross: {key!r} is an option of the fields that it crosses"
            )
    if kind == "numeric" and given.get("scored_as", (None,)) != (None,):
        forms.number(node.value["scored_as"], Key("number", ""), f"scored_as of {what}")
    if encoder == "hash" and "size" not in given:
        raise node.error(f"{what} has the encoder hash: expected a size, such as size: 1e6")
    if given.get("functions", 1) > 2:
        raise node.value["functions"].expected(f"functions of {what}", "1 or 2")
    if given.get("functions", 1) == 2 and given.get("pooling", "sum") != "sum":
        raise node.value["pooling"].error(
            f"{what} has two rows a value, which are added: {_TWO_ROWS[given['pooling']]}; "
            "expected pooling: sum, or functions: 1"
        )
    for key in {"embedding", "bins"} & given.keys():
        if encoder != "standardise":
            raise node.value[key].error(
                f"{what} has {key}, and its values are in {encoder}: expected encoder: standardise"
            )
    if given.get("embedding") == "piecewise_linear":
        given.setdefault("bins", BINS)
    if kind == "vector" and "length" not in given:
        raise node.error(f"{what} is a vector: expected the length of its lists")
    if "weights" in given and given.get("pooling") == "max":
        raise node.value["weights"].error(f"{what}: max pooling has no use for weights")
    return FieldSpec(name=name, line=node.line, **given)


def history(node: Node, what: str, time: str, unit: str, group: str) -> dict[str, Any]:
    """The options of a field that has this history."""
    what = f"history of {what}"
    given = options(node, keys.HISTORY, what)
    if "of" not in given:
        raise node.error(f"{what}: expected 'of', the field whose values it lists, as in of: item")
    if not time:
        raise node.error(f"{what} is earlier in time: expected a time column, such as time: t")
    by = given.get("by", group)
    if not by:
        raise node.error(f"{what}: expected 'by', the column of users, as in by: user_id")
    where = expression(node, "where", time, unit) if "where" in given else None
    made = {"history": HistorySpec(by=by, where=where), "target": given["of"]}
    return made | ({"max_values": given["last"]} if "last" in given else {})


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
