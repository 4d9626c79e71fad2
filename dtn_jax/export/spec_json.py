"""A schema file, parsed, as JSON, so that a served model needs no reader of YAML.

It is the dataclasses of `data/schemas/spec.py`. An expression is `{"column": its name}`, or
`{"text", "time", "unit"}`.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

from dtn_jax.data.formula import Expression, of_column, parse
from dtn_jax.data.schemas.spec import FieldSpec, HistorySpec, InputSpec, Spec, SplitSpec, TaskSpec
from dtn_jax.errors import UserError

OF_HISTORY = {field.name for field in dataclasses.fields(HistorySpec)}


def to_json(spec: Spec) -> str:
    """The text of a schema file; of its path the name alone."""
    plain = _plain(dataclasses.replace(spec, path=pathlib.PurePath(spec.path).name))
    return json.dumps(plain, indent=1)


def from_json(text: str) -> Spec:
    """What `to_json` wrote.

    Raises:
      UserError: it is no such text.
    """
    try:
        found = json.loads(text)
        fields = tuple(_of(FieldSpec, field) for field in found.pop("fields"))
        tasks = tuple(_of(TaskSpec, task) for task in found.pop("tasks"))
        split, own = _of(SplitSpec, found.pop("split")), _of(InputSpec, found.pop("input"))
        return Spec(**found, fields=fields, tasks=tasks, split=split, input=own)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(
            f"not the JSON of a schema file ({type(error).__name__}: {error})"
        ) from None


def _plain(value: Any) -> Any:
    """Values of JSON's own types."""
    if isinstance(value, Expression):
        if value.column:
            return {"column": value.column}
        return {"text": value.text, "time": value.time, "unit": value.unit}
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return value


def _of(kind: type, found: dict) -> Any:
    """One of the dataclasses, of its options."""
    return kind(**{name: _read(value) for name, value in found.items()})


def _read(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_read(inner) for inner in value)
    if isinstance(value, dict):
        if set(value) == {"column"}:
            return of_column(value["column"])
        if set(value) == {"text", "time", "unit"}:
            return parse(value["text"], "expression", value["time"], value["unit"])
        found = {key: _read(inner) for key, inner in value.items()}
        return HistorySpec(**found) if set(found) == OF_HISTORY else found
    return value
