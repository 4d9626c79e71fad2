"""The entries of each of the paper's tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from dtn_jax.flops import Size
from dtn_jax.interactions import EXPERTS, parse_experts
from dtn_jax.schema import Schema, UserError
from experiments.protocols import OURS, Entry, Protocol, Settings

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
    count = len(parse_experts(protocol.entries[OURS]["model.experts"]))
    variants: dict[str, Settings] = {}
    if any(task.upstream for task in schema.tasks):  # else there is nothing to leave out
        variants["without TSN"] = {"model.dtn.tsn": False}
    variants |= {
        "without task-specific groups": {"model.dtn.task_groups": False},
        "without the shared group": {"model.dtn.shared_group": False},
        "the paper's three kinds": {"model.experts": "+".join(KINDS)},
        **{f"{kind} alone": {"model.experts": f"{kind}*{count}"} for kind in KINDS},
        "mlp alone, as large": {"model.experts": f"mlp*{count}"},
        "fusion of the released code": {"model.fusion": "released"},
        "batch normalisation": {"model.normalisation": "batch"},
        "layer normalisation": {"model.normalisation": "layer"},
    }
    entries = [Entry(name, OURS, settings) for name, settings in variants.items()]
    wanted = size(full).parameters
    return [full] + [
        matched_to(e, protocol.width, lambda s: s.parameters, wanted, size)
        if e.name == "mlp alone, as large"
        else e
        for e in entries
    ]


def interactions(protocol: Protocol, schema: Schema, size: SizeOf) -> list[Entry]:
    """Every kind of expert in every routing, as many experts in all of them."""
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
            against=f"{OURS}, {kind}",
        )
        for kind in EXPERTS
        for routing in ROUTINGS
    ]


def matched(protocol: Protocol, schema: Schema, size: SizeOf) -> list[Entry]:
    """All architectures with as many parameters as DTN, and with as many FLOPs."""
    ours = Entry(OURS, OURS)
    wanted = size(ours)
    entries = [ours]
    for what, count in (
        ("parameters", lambda s: s.parameters),
        ("FLOPs", lambda s: s.flops_per_example),
    ):
        for name in protocol.entries:
            if name != OURS:
                own = Entry(f"{name}, equal {what}", name, group=what)
                entries.append(matched_to(own, protocol.width, count, count(wanted), size))
    return entries


def matched_to(
    entry: Entry, width: str, count: Callable[[Size], int], wanted: int, size: SizeOf
) -> Entry:
    """The entry with the width at which its size comes nearest to the one wanted."""

    def at(number: int) -> Entry:
        return dataclasses.replace(entry, settings={**entry.settings, width: (number,)})

    low, high = WIDTHS
    for _ in range(4):  # sizes are straight lines in the width of one layer: the first is exact
        few, many = count(size(at(low))), count(size(at(high)))
        if few == many:
            raise UserError(f"{entry.name}: {width} does not change its size")
        best = max(1, round(low + (wanted - few) * (high - low) / (many - few)))
        off = abs(count(size(at(best))) - wanted) / wanted
        if off <= NEAR or best == 1:
            break
        low, high = best, best + max(1, best // 10)
    name = entry.name if off <= NEAR else f"{entry.name} (off by {100 * off:.0f} %)"
    return dataclasses.replace(at(best), name=name)


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
