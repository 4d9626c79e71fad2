"""The entries of each of the paper's tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from dtn_jax.models.experts import EXPERTS, parse_experts
from dtn_jax.models.flops import Size
from dtn_jax.schema import Schema, UserError

from .protocols import OURS, Entry, Protocol, Settings

SizeOf = Callable[[Entry], Size]
WIDTHS = (64, 128)  # at which the size of a model is looked at, to find the width of a given size
NEAR = 0.01  # how far a matched size may be off
KINDS = ("gdcn", "masknet", "hcnet")  # of DTN's paper
ROUTINGS = ("shared_bottom", "mmoe", "ple", OURS)


def overall(protocol: Protocol, schema: Schema, size: SizeOf) -> list[Entry]:
    """All architectures, each as its paper has it."""
    return [Entry(name, name) for name in protocol.entries]


def ablation(protocol: Protocol, schema: Schema, size: SizeOf) -> list[Entry]:
    """DTN without each of its parts."""
    full = Entry(OURS, OURS)
    own = parse_experts(protocol.entries[OURS]["model.experts"])
    count, alone = len(own), dict.fromkeys(kind for kind in (*KINDS, *own) if kind != "mlp")
    variants: dict[str, Settings] = {}
    if any(task.upstream for task in schema.tasks):  # else there is nothing to leave out
        variants["without TSN"] = {"model.dtn.tsn": False}
    variants |= {
        "without task-specific groups": {"model.dtn.task_groups": False},
        "without the shared group": {"model.dtn.shared_group": False},
        "the paper's three kinds": {"model.experts": "+".join(KINDS)},
        **{f"{kind} alone": {"model.experts": f"{kind}*{count}"} for kind in alone},
        "mlp alone, as large": {"model.experts": f"mlp*{count}"},
        "fusion of the released code": {"model.fusion": "released"},
        "batch normalisation": {"model.normalisation": "batch"},
        "layer normalisation": {"model.normalisation": "layer"},
    }
    entries = [Entry(name, OURS, settings) for name, settings in variants.items()]
    return [full] + [
        matched_to(e, protocol.width, "parameters", size(full), size)
        if e.name == "mlp alone, as large"
        else e
        for e in entries
    ]


def interactions(protocol: Protocol, schema: Schema, size: SizeOf) -> list[Entry]:
    """Every kind of expert in every routing, as many experts in all of them.

    Routings are tested within a kind, kinds within DTN.
    """
    groups = len(schema.tasks) + 1
    counts = {"shared_bottom": groups, "mmoe": groups, "ple": 1, OURS: 1}
    own = {"ple": {"model.ple.levels": 1}}  # a second one would have as many experts again
    return [
        Entry(
            f"{routing}, {kind}",
            routing,
            {"model.experts": f"{kind}*{counts[routing]}"} | own.get(routing, {}),
            group=routing,
            at=kind,
            against=f"{OURS}, {'mlp' if routing == OURS else kind}",
        )
        for kind in EXPERTS
        for routing in ROUTINGS
    ]


def matched(protocol: Protocol, schema: Schema, size: SizeOf) -> list[Entry]:
    """All architectures with as many parameters as DTN, and with as many FLOPs.

    One width mostly gives both, and then one row does.
    """
    wanted = size(Entry(OURS, OURS))
    entries = [Entry(OURS, OURS)]
    for name in protocol.entries:
        if name == OURS:
            continue
        parameters, flops = (
            matched_to(Entry(f"{name}, equal {what}", name), protocol.width, count, wanted, size)
            for what, count in (("parameters", "parameters"), ("FLOPs", "flops_per_example"))
        )
        if off(size(parameters), wanted, "flops_per_example") <= NEAR:
            entries.append(dataclasses.replace(parameters, name=f"{name}, as large"))
        else:
            entries += [parameters, flops]
    return entries


def matched_to(entry: Entry, width: str, count: str, wanted: Size, size: SizeOf) -> Entry:
    """The entry with the width at which a count of its Size comes nearest to the one wanted."""

    def at(number: int) -> Entry:
        return dataclasses.replace(entry, settings={**entry.settings, width: (number,)})

    low, high = WIDTHS
    for _ in range(4):  # sizes are straight lines in the width of one layer: the first is exact
        few, many = (getattr(size(at(number)), count) for number in (low, high))
        if few == many:
            raise UserError(f"{entry.name}: {width} does not change its size")
        missing = getattr(wanted, count) - few
        best = max(1, round(low + missing * (high - low) / (many - few)))
        share = off(size(at(best)), wanted, count)
        if share <= NEAR or best == 1:
            break
        low, high = best, best + max(1, best // 10)
    name = entry.name if share <= NEAR else f"{entry.name} (off by {100 * share:.0f} %)"
    return dataclasses.replace(at(best), name=name)


def off(size: Size, wanted: Size, count: str) -> float:
    """How far a count is off, as a share of the one wanted."""
    return abs(getattr(size, count) - getattr(wanted, count)) / getattr(wanted, count)


def sensitivity(protocol: Protocol, schema: Schema, size: SizeOf) -> list[Entry]:
    """DTN with one option at a time at other values."""
    experts = protocol.entries[OURS]["model.experts"]
    entries = []
    for option, values in protocol.sensitivity.items():
        kind = option.split(".")[1]
        joined = kind in EXPERTS and kind not in parse_experts(experts)
        needed = {"model.experts": f"{experts}+{kind}"} if joined else {}
        for value in values:
            short = option.removeprefix("model.")
            settings = {**needed, option: value}
            entries.append(Entry(f"{short} = {value}", OURS, settings, short, str(value)))
    return [Entry(OURS, OURS), *entries]


TABLES: Mapping[str, Callable[[Protocol, Schema, SizeOf], list[Entry]]] = {
    "overall": overall,
    "ablation": ablation,
    "interactions": interactions,
    "matched": matched,
    "sensitivity": sensitivity,
}
