"""The fields, each read from its node."""

from __future__ import annotations

from typing import Any

from dtn_jax.datasets.logs.formula import of_column
from dtn_jax.datasets.logs.schema import forms, keys
from dtn_jax.datasets.logs.schema.forms import Key, chosen
from dtn_jax.datasets.logs.schema.parts import expression, having, options
from dtn_jax.datasets.logs.schema.spec import COMPANION, ENCODERS, LISTED, FieldSpec, HistorySpec
from dtn_jax.datasets.logs.schema.yaml_lines import Node
from dtn_jax.datasets.preparation.numbers import BINS
from dtn_jax.errors import UserError

_OF_LIST = ("column", "value", "target", "max_values", "keep", "longest")  # not of a made history
_OF_HISTORY = ("target", "max_values", "keep", "longest", "pooling")  # a companion has none itself
_TWO_ROWS = {
    "mean": "pooling: mean would divide by the number of rows, not of values",
    "max": "pooling: max would choose among single rows",
}

Given = dict[str, Any]  # {option: its value}


def field(name: str, node: Node, time: str, unit: str, group: str) -> FieldSpec:
    """A field of the schema file; time, its unit and the group are the file's columns."""
    what = f"field {name!r}"
    given = options(node, keys.FIELD, what)
    given.pop("name", None)
    listed = {"history", "beside"} & given.keys()  # what only a sequence has
    kind = given.setdefault("kind", "sequence" if listed else "categorical")
    role = COMPANION if kind == "sequence" and "beside" in given else kind
    _encoder(role, given, node, what)
    having(node, given, keys.FIELD, what, role, given["encoder"])
    if "history" in given:
        for key in [key for key in _OF_LIST if key in given]:
            raise node.value[key].error(f"{what} has a history, in place of {key!r}: expected one")
        given |= history(given["history"], what, time, unit, group)
    if role == "sequence":
        given = _sequence(given, node, what)
    _source(name, role, given, node, what, (time, unit))
    _check(role, given, node, what)
    return FieldSpec(name=name, line=node.line, **given)


def _encoder(role: str, given: Given, node: Node, what: str) -> None:
    """Fills in the encoder; raises UserError for one that the field cannot have."""
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


def _sequence(given: Given, node: Node, what: str) -> Given:
    if "target" not in given:
        raise node.error(
            f"{what} is a sequence: expected a target, such as target: item, a history, or the "
            "sequence beside which it stands, such as beside: viewed"
        )
    return {"keep": "last", "pooling": "mean"} | given


def _source(
    name: str, role: str, given: Given, node: Node, what: str, timed: tuple[str, str]
) -> None:
    """Fills in where the values come from: an expression, a cross, or the log's own rows."""
    sources = [key for key in ("column", "value", "cross", "gap") if key in given]
    if len(sources) > 1:
        raise node.error(f"{what} has both {' and '.join(sources)}: expected one of them")
    given.setdefault("table", name)
    column = given.pop("column", name)
    if "cross" in given:
        if len(set(given["cross"])) != 2 or len(given["cross"]) != 2:
            raise node.value["cross"].error(f"cross of {what}: expected two fields")
        for key in [key for key in ("unknown", "scored_as", "optional") if key in given]:
            raise node.value[key].error(
                f"{what} is a cross: {key!r} is an option of the fields that it crosses"
            )
        if given["encoder"] == "identity":
            raise node.value["encoder"].error(
                f"{what} is a cross, and pairs are no rows: expected encoder: vocabulary or hash"
            )
    elif "value" in given:
        given["value"] = expression(node, "value", *timed)
        if role in LISTED and not given["value"].column:
            raise node.value["value"].error(f"{what} is a {role}: expected a column of lists")
    elif "history" not in given and not given.get("gap"):
        given["value"] = of_column(column)


def _check(role: str, given: Given, node: Node, what: str) -> None:
    """Raises UserError where options do not go together; fills in the bins of an embedding."""
    if role == "numeric" and given.get("scored_as", (None,)) != (None,):
        forms.number(node.value["scored_as"], Key("number", ""), f"scored_as of {what}")
    if given["encoder"] in keys.SIZED and "size" not in given:
        encoder = given["encoder"]
        raise node.error(f"{what} has the encoder {encoder}: expected a size, such as size: 1e6")
    if given.get("functions", 1) > 2:
        raise node.value["functions"].expected(f"functions of {what}", "1 or 2")
    if given.get("functions", 1) == 2 and given.get("pooling", "sum") != "sum":
        raise node.value["pooling"].error(
            f"{what} has two rows a value, which are added: {_TWO_ROWS[given['pooling']]}; "
            "expected pooling: sum, or functions: 1"
        )
    for key in [key for key in ("embedding", "bins") if key in given]:
        if given["encoder"] != "standardise":
            raise node.value[key].error(
                f"{what} has {key}, and its values are in {given['encoder']}: expected encoder: "
                "standardise"
            )
    if given.get("embedding") == "piecewise_linear":
        given.setdefault("bins", BINS)
    if role == "vector" and "length" not in given:
        raise node.error(f"{what} is a vector: expected the length of its lists")
    if "weights" in given and given.get("pooling") == "max":
        raise node.value["weights"].error(f"{what}: max pooling has no use for weights")
