"""All methods: every architecture with mlp and with dcnv2 experts, every expert under mmoe.

One search each, of as many examples as two runs, and three seeds. Architectures that share their
experts have as many as there are tasks, and one more; in all others each group has one. Those that
need a scenario, or a prior field, take `race`, since the sets name none. What needs a funnel
(esmm, escm2) cannot be trained on these sets. Each row is tested against mmoe with mlp experts.

On one core Adult takes 73 minutes, and the seven labels some 5 hours.
"""

from __future__ import annotations

from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.models.experts import EXPERTS
from dtn_jax.papertables.protocol import Protocol, Settings

NEED_A_FUNNEL = ("esmm", "escm2")
ONE_GROUP = ("shared_bottom", "mmoe", "omoe", "snr", "dselect_k")
SHARE = (*ONE_GROUP, "hmoe", "metaheac", "pepnet", "star")
SCENARIO = {"pepnet": "domain"} | dict.fromkeys(("star", "hmoe", "mdl", "m3oe"), "scenario")
FIELD = ("race",)
KINDS = ("mlp", "dcnv2")
BASELINE = "mmoe, mlp"


def row(name: str, kind: str, tasks: int) -> dict[str, object]:
    """The settings of an architecture, with experts of a kind if it takes any."""
    count = tasks + 1 if name in SHARE else 1
    given: dict[str, object] = {"model.architecture": name}
    if ARCHITECTURES[name].takes_experts:
        given["model.experts"] = f"{kind}*{count}"
    if name in SCENARIO:
        given[f"model.{name}.{SCENARIO[name]}"] = FIELD
    if name == "pepnet":
        given["model.pepnet.prior"] = FIELD
    return given


def of_zoo(config: str, tasks: int) -> Protocol:
    """The protocol of a set, from its config file and how many tasks it has."""
    entries: dict[str, Settings] = {}
    for name in (name for name in ARCHITECTURES if name not in NEED_A_FUNNEL):
        if ARCHITECTURES[name].takes_experts:
            entries |= {f"{name}, {kind}": row(name, kind, tasks) for kind in KINDS}
        else:
            entries[name] = row(name, "", tasks)
    entries |= {f"mmoe, {kind}": row("mmoe", kind, tasks) for kind in EXPERTS}
    return Protocol(
        config=config,
        entries=entries,
        ours=BASELINE,
        trials=2,
        finalists=1,
        seeds=3,
        note="All rows have their config's widths, so they differ in size: see FLOPs.",
    )
