"""Protocols from files: those shipped in protocols/, and a user's own.

Such a file is Python that sets PROTOCOL:

    from dtn_jax.papertables.protocol import RIVALS, Protocol, entry

    PROTOCOL = Protocol(
        config="my_config.py",
        entries={"dtn": entry("dtn", "gdcn+mlp"), "mine": entry("my_routing", "mlp")} | RIVALS,
    )

It is loaded as if it lay in protocols/, so that a copy of a shipped one, with its relative imports,
works from any folder. The import above works in an installed package too.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from dtn_jax.config import checked_config, load_config
from dtn_jax.data.sets.catalog import read_data
from dtn_jax.errors import UserError, choose
from dtn_jax.papertables.protocol import (
    LIGHTGBM,
    OF_SEARCHES,
    OURS,
    RIVALS,
    Protocol,
    configured,
    entry,
)
from dtn_jax.shipped import import_file, package, protocols

# What all entries of a protocol share, and what the tables set themselves.
NOT_AN_ENTRYS = ("data.dataset", "data.options", "evaluate.sample_weights", "seed", "replicas")


def load(path: pathlib.Path) -> Protocol:
    """The protocol of a file, checked as far as it can be without data.

    Raises:
      UserError: there is no such file, it fails, or something in it cannot be.
    """
    if not path.is_file():
        raise UserError(
            f"no protocol file {str(path)!r}; the shipped ones: {', '.join(protocols())}"
        )
    module = import_file(path, "protocol", package=package("protocols"))
    protocol = getattr(module, "PROTOCOL", None)
    if not isinstance(protocol, Protocol):
        raise UserError(f"{path} sets no PROTOCOL = Protocol(…), got {protocol!r}")
    try:
        check(protocol)
    except UserError as error:
        raise UserError(f"protocol {path}: {error}") from error
    return protocol


def default_protocol(spec: str) -> Protocol:
    """DTN with the config's experts, and the rivals as their papers have them.

    Args:
      spec: of a config, such as 'configs/logs.py:schema=shop.yaml'.

    Raises:
      UserError: the config is wrong.
    """
    experts = load_config(spec).model.experts
    protocol = Protocol(
        config=spec,
        entries={OURS: entry(OURS, experts)} | RIVALS,
        sensitivity={
            "model.embedding_dim": (4, 8, 16, 32),
            "model.experts": tuple(dict.fromkeys((experts, "masknet+dcnv2+mlp", "mlp*3"))),
            "model.dcnv2.layers": (1, 2, 3),
        },
        note="The protocol is the default one: no setting was chosen for these data beforehand.",
    )
    check(protocol)
    return protocol


def check(protocol: Protocol) -> None:
    """Raises UserError where a protocol cannot be, told without data."""
    named = [protocol.ours, *protocol.again, *protocol.beside, *protocol.against]
    named += protocol.against.values()
    named += [name for dial in protocol.dials for name in dial.entries]
    named += [protocol.delta_m] if protocol.delta_m else []
    named += [*protocol.searches, *(claim.row for claim in protocol.claims)]
    named += [claim.than for claim in protocol.claims if claim.than != LIGHTGBM]
    for name in named:
        choose("entry", name, protocol.entries)
    for claim in (claim for claim in protocol.claims if claim.worse == OF_SEARCHES):
        for name in (claim.row, claim.than):
            if protocol.searches.get(name, 1) < 2 or not protocol.trials:
                raise UserError(f"a margin of searches needs two of {name!r}, and trials")
    several = protocol.again or protocol.searches
    if protocol.transfer and (several or not protocol.trials or protocol.finalists < 2):
        raise UserError("transfer needs trials and at least 2 finalists, and no entry tuned again")
    for name, settings in protocol.entries.items():
        if "/" in name or not name:
            raise UserError(f"entry {name!r}: its name is part of file names, and can have no '/'")
        if shared := [key for key in settings if key in NOT_AN_ENTRYS]:
            raise UserError(f"entry {name!r} sets {shared[0]}; `common` has what all share")
    varied = [{option: v} for option, of in protocol.sensitivity.items() for v in of]
    for settings in (*protocol.entries.values(), *protocol.given.values(), *varied):
        checked_config(configured(protocol, settings))


def read_protocol(
    dataset: str, file: str, config: str, places: Mapping[str, str]
) -> tuple[str, Protocol]:
    """Its name, and the protocol that is asked for by one of the first three; the others are "".

    Args:
      dataset: the name of a shipped protocol.
      file: of the user's own.
      config: what the default protocol compares on; the name is its data set's.
      places: options that say where data and plug-ins are.
    """
    if config:
        protocol = default_protocol(config)
        return read_data(configured(protocol, places)).schema.name, protocol
    path = pathlib.Path(file) if file else protocols()[dataset]
    return path.stem, load(path)
