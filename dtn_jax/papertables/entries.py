"""The entries of each of the paper's tables."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

from ml_collections import ConfigDict

from dtn_jax.config import flatten, identity
from dtn_jax.errors import UserError, choose
from dtn_jax.models.experts import EXPERTS, parse_experts
from dtn_jax.models.flops import Size
from dtn_jax.options import pairs
from dtn_jax.papertables.protocol import AGAIN, Entry, Protocol, Settings, configured
from dtn_jax.schema import Schema

SizeOf = Callable[[Entry], Size]
WIDTH = "model.mlp.hidden"  # by which entries are made equally large
WIDTHS = (64, 128)  # at which the size of a model is looked at, to find the width of a given size
NEAR = 0.01  # how far a matched size may be off
KINDS = ("gdcn", "masknet", "hcnet")  # of DTN's paper
COMPARED = ("mlp", *KINDS, "dcnv2")  # in every routing
ROUTINGS = ("shared_bottom", "mmoe", "ple")  # beside ours, those that a protocol has
ONE_GROUP = ("shared_bottom", "mmoe")  # architectures whose experts are all in one
OPTIONS = "data.options"
LARGE = "mlp alone, as large"


def overall(protocol: Protocol, schema: Schema, size: SizeOf) -> list[Entry]:
    """All architectures, each as its paper has it; some tuned a second time."""
    again = [name + AGAIN for name in protocol.again]
    against = protocol.against
    return [
        Entry(name, name, against=against.get(name.removesuffix(AGAIN), ""))
        for name in (*protocol.entries, *again)
    ]


def own_config(protocol: Protocol, name: str) -> ConfigDict:
    """That of an entry of `overall`, before it is tuned."""
    return configured(protocol, protocol.entries[name])


def ablation(protocol: Protocol, schema: Schema, size: SizeOf) -> list[Entry]:
    """Ours without its parts, and with its options: those of DTN only where it is one."""
    ours, model = protocol.ours, own_config(protocol, protocol.ours).model
    full = Entry(ours, ours)
    experts = parse_experts(model.experts)
    count, alone = len(experts), dict.fromkeys(kind for kind in (*KINDS, *experts) if kind != "mlp")
    is_dtn = model.architecture == "dtn"
    variants: dict[str, Settings] = {}
    has_tsn = is_dtn and any(task.upstream for task in schema.tasks)  # else it scales nothing
    if has_tsn:
        variants["without TSN"] = {"model.dtn.tsn": False}
    if is_dtn:
        variants["without task-specific groups"] = {"model.dtn.task_groups": False}
        variants["without the shared group"] = {"model.dtn.shared_group": False}
    variants |= {
        "the paper's three kinds": {"model.experts": "+".join(KINDS)},
        **{f"{kind} alone": {"model.experts": f"{kind}*{count}"} for kind in alone},
        LARGE: {"model.experts": f"mlp*{count}"},
    }
    if is_dtn:
        variants["fusion of the released code"] = {"model.fusion": "released"}
        variants["embeddings of each task's own"] = {"model.dtn.own_embeddings": True}
        variants["no gradient to others' groups"] = {"model.dtn.others_gradient": "none"}
    if has_tsn:
        variants["gradient to TSN's probabilities"] = {"model.dtn.others_gradient": "all"}
    variants |= {
        "batch normalisation": {"model.normalisation": "batch"},
        "layer normalisation": {"model.normalisation": "layer"},
    }
    entries = {name: Entry(name, ours, settings) for name, settings in variants.items()}
    large = matched_to(entries[LARGE], "parameters", size(full), size)
    return [full, *(entries | {LARGE: large}).values()]


def interactions(protocol: Protocol, schema: Schema, size: SizeOf) -> list[Entry]:
    """Several kinds of experts in every routing, as many in all of them.

    Routings are tested within a kind, kinds within ours.
    """
    groups, ours = len(schema.tasks) + 1, protocol.ours
    routings = {
        name: own_config(protocol, name).model.architecture
        for name in (*ROUTINGS, ours)
        if name in protocol.entries
    }
    counts = {name: groups if a in ONE_GROUP else 1 for name, a in routings.items()}
    # A second level would have as many experts again.
    fixed = {name: {"model.ple.levels": 1} for name, a in routings.items() if a == "ple"}
    return [
        Entry(
            f"{routing}, {kind}",
            routing,
            {"model.experts": f"{kind}*{counts[routing]}"} | fixed.get(routing, {}),
            group=routing,
            at=kind,
            against=f"{ours}, {'mlp' if routing == ours else kind}",
        )
        for kind in COMPARED
        for routing in routings
    ]


def matched(protocol: Protocol, schema: Schema, size: SizeOf) -> list[Entry]:
    """All architectures with as many parameters as ours, and with as many FLOPs.

    One width mostly gives both, and then one row does. An entry without MLPs has none to change,
    and no row.
    """
    ours = protocol.ours
    wanted = size(Entry(ours, ours))
    entries = [Entry(ours, ours)]
    for name in protocol.entries:
        if name == ours or "mlp" not in parse_experts(own_config(protocol, name).model.experts):
            continue
        parameters, flops = (
            matched_to(Entry(f"{name}, equal {what}", name), count, wanted, size)
            for what, count in (("parameters", "parameters"), ("FLOPs", "flops_per_example"))
        )
        if off(size(parameters), wanted, "flops_per_example") <= NEAR:
            entries.append(dataclasses.replace(parameters, name=f"{name}, as large"))
        else:
            entries += [parameters, flops]
    return entries


def matched_to(entry: Entry, count: str, wanted: Size, size: SizeOf) -> Entry:
    """The entry with the width at which a count of its Size comes nearest to the one wanted: sizes
    are straight lines in the width of one layer."""

    def at(number: int) -> Entry:
        return dataclasses.replace(entry, settings={**entry.settings, WIDTH: (number,)})

    low, high = WIDTHS
    few, many = (getattr(size(at(number)), count) for number in WIDTHS)
    if few == many:
        raise UserError(f"{entry.name}: {WIDTH} does not change its size")
    missing = getattr(wanted, count) - few
    best = max(1, round(low + missing * (high - low) / (many - few)))
    share = off(size(at(best)), wanted, count)
    name = entry.name if share <= NEAR else f"{entry.name} (off by {100 * share:.0f} %)"
    return dataclasses.replace(at(best), name=name)


def off(size: Size, wanted: Size, count: str) -> float:
    """How far a count is off, as a share of the one wanted."""
    return abs(getattr(size, count) - getattr(wanted, count)) / getattr(wanted, count)


def sensitivity(protocol: Protocol, schema: Schema, size: SizeOf) -> list[Entry]:
    """Ours with one option at a time at other values."""
    ours = protocol.ours
    experts = own_config(protocol, ours).model.experts
    entries = []
    for option, values in protocol.sensitivity.items():
        kind = option.split(".")[1] if "." in option else ""
        joined = kind in EXPERTS and kind not in parse_experts(experts)
        needed = {"model.experts": f"{experts}+{kind}"} if joined else {}
        if option not in identity(configured(protocol, protocol.entries[ours], needed)):
            raise UserError(f"sensitivity: {option} changes nothing in {ours}")
        for value in values:
            short = option.removeprefix("model.")
            settings = {**needed, option: value}
            entries.append(Entry(f"{short} = {value}", ours, settings, short, str(value)))
    return [Entry(ours, ours), *entries]


def dials(protocol: Protocol, schema: Schema, size: SizeOf) -> list[Entry]:
    """The protocol's entries at each value of each dial of the data, with the settings that they
    were tuned to; each is tested against ours at the same value.

    Raises:
      UserError: the protocol has no dial.
    """
    if not protocol.dials:
        raise UserError(
            "divergence: the protocol has no `dials`; --dataset=divergence names one that has"
        )
    usual = pairs(flatten(configured(protocol))[OPTIONS], OPTIONS)
    entries = []
    for dial in protocol.dials:
        beside = [f"{name} = {value}" for name, value in dial.beside.items()]
        for value in dial.values:
            level = ", ".join([f"{dial.option} = {value}", *beside])
            given = usual | dial.beside | {dial.option: value}
            options = {OPTIONS: ",".join(f"{name}={of}" for name, of in given.items())}
            group, against = ", ".join([dial.option, *beside]), f"{protocol.ours}, {level}"
            entries += [
                Entry(f"{name}, {level}", name, options, group, str(value), against)
                for name in dial.entries or protocol.entries
            ]
    return entries


TABLES: Mapping[str, Callable[[Protocol, Schema, SizeOf], list[Entry]]] = {
    "overall": overall,
    "ablation": ablation,
    "interactions": interactions,
    "matched": matched,
    "sensitivity": sensitivity,
    "divergence": dials,
}


def named(text: str, known: Sequence[str]) -> list[str]:
    """Reads 'dtn,mmoe'; a comma with a space after it is part of a name, as in 'mmoe, gdcn'.

    Raises:
      UserError: a name is not known.
    """
    names = [name.strip() for name in re.split(r"[,;](?! )", text) if name.strip()]
    return [choose("entry", name, known, between="; ") for name in names]
