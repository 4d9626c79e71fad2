"""The options of one architecture, expert or other part, read from section `model`."""

from __future__ import annotations

import functools
from types import SimpleNamespace

from ml_collections import ConfigDict

from dtn_jax.options import declared


def own_options(model: ConfigDict, name: str, owner: type) -> SimpleNamespace:
    """The checked values of an owner's options, by field; `name` is '' for the section's own."""
    values = {}
    for field, found in declared(owner).items():
        key = found.key or ".".join(filter(None, ("model", name, field)))
        value = functools.reduce(getattr, key.split(".")[1:], model)
        found.check(key, value)
        values[field] = tuple(value) if isinstance(found.default, tuple) else value
    return SimpleNamespace(**values)
