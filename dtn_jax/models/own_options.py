"""The options of one architecture, expert or other part, read from section `model`."""

from __future__ import annotations

import dataclasses
import functools
from types import SimpleNamespace
from typing import Any

from ml_collections import ConfigDict

from dtn_jax.errors import UserError, choose
from dtn_jax.options import declared
from dtn_jax.schema import Schema


def own_options(model: ConfigDict, name: str, owner: type) -> SimpleNamespace:
    """The checked values of an owner's options, by field; `name` is '' for the section's own."""
    values = {}
    for field, option in declared(owner).items():
        key = option.key or ".".join(filter(None, ("model", name, field)))
        value = functools.reduce(getattr, key.split(".")[1:], model)
        option.check(key, value)
        values[field] = tuple(value) if isinstance(option.default, tuple) else value
    return SimpleNamespace(**values)


def factory(owner: type, name: str, model: ConfigDict, **given: Any) -> functools.partial:
    """What makes modules of an owner: with its options, and what it has an attribute for."""
    attributes = {field.name for field in dataclasses.fields(owner)}
    taken = {key: value for key, value in given.items() if key in attributes}
    return functools.partial(owner, **(vars(own_options(model, name, owner)) | taken))


def with_fields(own: SimpleNamespace, name: str, owner: type, schema: Schema) -> SimpleNamespace:
    """The options of an architecture; those that name fields by their role have names now.

    Raises:
      UserError: a field that the schema does not have, or none where the architecture needs one.
    """
    values = dict(vars(own))
    for field, option in declared(owner).items():
        if option.role == "tokens":
            groups = (f"{token}={'+'.join(names)}" for token, names in schema.tokens.items())
            values[field] = values[field] or ",".join(groups)
        elif option.role:
            key = f"model.{name}.{field}"
            for given in values[field]:
                choose(f"field in {key}", given, schema.read_names)
            by_role = tuple(f.name for f in schema.read if f.role == option.role)
            values[field] = values[field] or by_role
            if not values[field]:
                raise UserError(
                    f"{name} reads fields of the role {option.role!r}, and data set "
                    f"{schema.name!r} names none: give {key}=FIELD,FIELD, or a field "
                    f"`role: {option.role}` in the schema file"
                )
    return SimpleNamespace(**values)
