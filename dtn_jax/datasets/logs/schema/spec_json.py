"""How a schema file's fields stand in JSON beside a model, to be read without YAML.

An expression stands as its text, and a column alone as `{"column": name}`, whatever signs the name
has. Of the rest of the file there is what raw rows are read by: the time column with its unit, and
how text files are read.
"""

from __future__ import annotations

import dataclasses
import json

from dtn_jax.datasets.logs.formula.expression import Expression, of_column, parse
from dtn_jax.datasets.logs.schema.spec import FieldSpec, InputSpec, Spec

Fields = tuple[FieldSpec, ...]


def to_json(spec: Spec, time_unit: str) -> str:
    """Writes the fields, the input and the time column; `time_unit` is of its values."""
    found = {
        "fields": [_plain(field) for field in spec.fields],
        "time": spec.time,
        "time_unit": time_unit,
        "input": _plain(spec.input),
    }
    return json.dumps(found, indent=1, ensure_ascii=False)


def from_json(text: str, where: str) -> tuple[Fields, InputSpec]:
    """Reads what `to_json` wrote.

    Args:
      text: the JSON.
      where: the file, for messages.

    Raises:
      ValueError, TypeError, KeyError: the text is not what `to_json` writes.
    """
    facts = json.loads(text)
    time, unit = facts["time"], facts["time_unit"]

    def field(options: dict) -> FieldSpec:
        options = {name: _listed(value) for name, value in options.items()}
        options["value"] = _expression(options["value"], f"{where}: value", time, unit)
        return FieldSpec(**options)

    input = {name: _listed(value) for name, value in facts["input"].items()}
    return tuple(map(field, facts["fields"])), InputSpec(**input)


def _plain(found: FieldSpec | InputSpec) -> dict:
    told = {}
    for option in dataclasses.fields(found):
        value = getattr(found, option.name)
        if isinstance(value, Expression):
            value = {"column": value.column} if value.column else value.meaning
        if option.name != "line":
            told[option.name] = value
    return told


def _listed(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _expression(value: object, where: str, time: str, unit: str) -> Expression | None:
    if value is None:
        return None
    if isinstance(value, dict):
        return of_column(value["column"])
    return parse(value, where, time, unit)
