"""A schema file, parsed, as JSON, so that a served model needs no reader of YAML.

It is the dataclasses of `data/schemas/spec.py`, each known by its keys. An expression is
`{"column": its name}`, or `{"text", "time", "unit"}`.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

from dtn_jax.data.formula import Expression, of_column, parse
from dtn_jax.data.schemas.spec import FieldSpec, HistorySpec, InputSpec, Spec, SplitSpec, TaskSpec

KINDS = {
    frozenset(field.name for field in dataclasses.fields(kind)): kind
    for kind in (FieldSpec, HistorySpec, InputSpec, Spec, SplitSpec, TaskSpec)
}
FORMULA = {"text", "time", "unit"}


def to_json(spec: Spec) -> str:
    """The text of a schema file; of its path the name alone."""
    spec = dataclasses.replace(spec, path=pathlib.PurePath(spec.path).name)
    return json.dumps(spec, indent=1, default=_plain)


def from_json(text: str) -> Spec:
    """What `to_json` wrote."""
    return json.loads(text, object_hook=_read)


def _plain(value: Any) -> dict:
    """One of the dataclasses, or an expression."""
    if not isinstance(value, Expression):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if value.column:
        return {"column": value.column}
    return {name: getattr(value, name) for name in sorted(FORMULA)}


def _read(value: dict) -> Any:
    if value.keys() == {"column"}:
        return of_column(value["column"])
    if value.keys() == FORMULA:
        return parse(value["text"], "expression", value["time"], value["unit"])
    options = {name: _tuples(inner) for name, inner in value.items()}
    return KINDS.get(frozenset(value), dict)(**options)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
