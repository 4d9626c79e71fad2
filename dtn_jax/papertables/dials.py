"""The entries of the table `divergence`: the same models on data that differ in one dial."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dtn_jax.config import flatten
from dtn_jax.errors import UserError
from dtn_jax.models.flops import Size
from dtn_jax.options import pairs
from dtn_jax.papertables.protocol import Dial, Entry, Protocol, configured
from dtn_jax.schema import Schema

OPTIONS = "data.options"


def dials(protocol: Protocol, schema: Schema, size: Callable[[Entry], Size]) -> list[Entry]:
    """The protocol's entries at each value of each dial, with the settings that they were tuned to.

    Each is tested against ours at the same value. A level that two dials share is of the same runs.

    Raises:
      UserError: the protocol has no dial.
    """
    if not protocol.dials:
        raise UserError(
            "divergence: the protocol has no `dials`; --dataset=divergence names one that has"
        )
    return [
        Entry(
            f"{name}, {level(dial, value)}",
            name,
            {OPTIONS: options_at(protocol, dial, value)},
            group=group_of(dial),
            at=str(value),
            against=f"{protocol.ours}, {level(dial, value)}",
        )
        for dial in protocol.dials
        for value in dial.values
        for name in dial.entries or protocol.entries
    ]


def options_at(protocol: Protocol, dial: Dial, value: float | int) -> str:
    """The `data.options` where a dial has a value."""
    usual = pairs(flatten(configured(protocol))[OPTIONS], OPTIONS)
    return written(usual | dial.beside | {dial.option: value})


def group_of(dial: Dial) -> str:
    """'rows', or 'rows, divergence = 1' with what is beside it."""
    return ", ".join([dial.option, *(f"{name} = {at}" for name, at in dial.beside.items())])


def level(dial: Dial, value: float | int) -> str:
    """'rows = 50000, divergence = 1'."""
    at = {dial.option: value, **dial.beside}
    return ", ".join(f"{name} = {set_to}" for name, set_to in at.items())


def written(options: Mapping[str, object]) -> str:
    return ",".join(f"{name}={value}" for name, value in options.items())
