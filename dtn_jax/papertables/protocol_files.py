"""Protocols from files: those shipped in protocols/, and a user's own.

Such a file is Python that sets PROTOCOL:

    from dtn_jax.papertables.protocol import RIVALS, Protocol, entry

    PROTOCOL = Protocol(
        config="my_config.py",  # looked for beside this file first, a schema file too
        entries={"dtn": entry("dtn", "gdcn+mlp"), "mine": entry("my_routing", "mlp")} | RIVALS,
    )

It is loaded as if it lay in protocols/, so that a copy of a shipped one, with its relative imports,
works from any folder. The import above works in an installed package too.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import pathlib
import re
from collections.abc import Mapping

from dtn_jax.config import checked_config, flatten, load_config, plugins
from dtn_jax.data.sets.catalog import read_data
from dtn_jax.errors import UserError, choose
from dtn_jax.models.experts import EXPERTS
from dtn_jax.options import pairs
from dtn_jax.papertables.protocol import OURS, RIVALS, Protocol, configured, entry
from dtn_jax.shipped import folder, package, protocols

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
    name = f"{package('protocols')}.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise UserError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a file of the user's may raise
        raise plugins.failed(path, "protocol", error) from error
    protocol = getattr(module, "PROTOCOL", None)
    if not isinstance(protocol, Protocol):
        raise UserError(f"{path} sets no PROTOCOL = Protocol(…), got {protocol!r}")
    protocol = found_beside(path, protocol)
    try:
        check(protocol)
    except UserError as error:
        raise UserError(f"protocol {path}: {error}") from error
    except (TypeError, AttributeError, ValueError) as error:  # a number where a dict belongs
        raise UserError(f"protocol {path}: {type(error).__name__}: {error}") from error
    return protocol


def default_protocol(spec: str) -> Protocol:
    """DTN with the config's experts, and the rivals as their papers have them.

    Args:
      spec: of a config, such as 'configs/logs.py:schema=shop.yaml'.

    Raises:
      UserError: the config is wrong.
    """
    experts = load_config(spec).model.experts
    made = Protocol(
        config=spec,
        entries={OURS: entry(OURS, experts)} | RIVALS,
        sensitivity={
            "model.embedding_dim": (4, 8, 16, 32),
            "model.experts": tuple(dict.fromkeys((experts, "masknet+dcnv2+mlp", "mlp*3"))),
            "model.dcnv2.layers": (1, 2, 3),
        },
        note="The protocol is the default one: no setting was chosen for these data beforehand.",
    )
    check(made)
    return made


def found_beside(path: pathlib.Path, protocol: Protocol) -> Protocol:
    """The protocol with the config and the plug-ins that lie in its file's folder.

    A shipped one has the shipped config, whatever lies in a folder configs/ where it is called.
    """
    if path.absolute().parent == folder("protocols").absolute():
        own = folder("configs").parent / protocol.config
        return dataclasses.replace(protocol, config=str(own))

    def place(name: str, end: str) -> str:
        file, *rest = name.strip().partition(end)
        return "".join((str(path.parent / file), *rest)) if (path.parent / file).is_file() else name

    config = re.sub("(?<=[:,]schema=)[^,]+", lambda own: place(own[0], "#"), protocol.config)
    made = dataclasses.replace(protocol, config=place(config, ":"))
    if "plugins" in protocol.common:
        files = ",".join(place(name, "#") for name in str(protocol.common["plugins"]).split(","))
        made = dataclasses.replace(made, common={**protocol.common, "plugins": files})
    return made


def check(protocol: Protocol) -> None:
    """Raises UserError where a protocol cannot be, told without data."""
    flat, known = flatten(configured(protocol)), protocol.entries
    named = [("ours", known, [protocol.ours]), ("entry to tune again", known, protocol.again)]
    named += [
        ("entry in beside", known, protocol.beside),
        ("entry in against", known, protocol.against),
    ]
    named += [("entry that others are tested against", known, protocol.against.values())]
    named += [("expert in kinds", EXPERTS, protocol.kinds), ("width", flat, [protocol.width])]
    for dial in protocol.dials:
        options = pairs(str(flat["data.options"]), "data.options")
        named.append(("option of a dial", options, (dial.option, *dial.beside)))
        named.append((f"entry of the dial {dial.option}", known, dial.entries))
    for what, known, names in named:
        for name in names:
            choose(what, name, known)
    for name in ("trials", "finalists", "finalist_seeds", "seeds"):
        least = 0 if name == "trials" else 1
        if getattr(protocol, name) < least:
            raise UserError(f"{name}={getattr(protocol, name)}: expected at least {least}")
    if protocol.transfer and (protocol.again or not protocol.trials or protocol.finalists < 2):
        raise UserError(
            "transfer: entries try each other's settings where they are tuned, with at least 2 "
            "finalists, and none of them again"
        )
    if protocol.given and not protocol.transfer:
        raise UserError("given: settings from elsewhere are tried in the transfer: transfer=True")
    for name in protocol.given:
        if name in protocol.entries:
            raise UserError(f"given: {name!r} is an entry; name where the settings were found")
        checked_config(configured(protocol, protocol.given[name]))
    for name, own in protocol.entries.items():
        if "/" in name or not name:
            raise UserError(f"entry {name!r}: its name is part of file names, and can have no '/'")
        taken = [key for key in own if key in NOT_AN_ENTRYS]
        if taken:
            raise UserError(
                f"entry {name!r} sets {taken[0]}, but entries are compared on the same data and "
                "seeds; `common` sets what all of them share"
            )
        checked_config(configured(protocol, own))
    if "mlp" not in protocol.kinds:
        raise UserError("kinds has no mlp, against which the others are tested")
    for option, values in protocol.sensitivity.items():
        for value in values:
            checked_config(configured(protocol, {option: value}))
    for dial in protocol.dials:
        if protocol.ours not in (dial.entries or protocol.entries):
            raise UserError(
                f"the dial {dial.option} has no {protocol.ours}, against which the others are "
                "tested"
            )


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
