"""What goes on inside a model, as JSON says it and as pictures: gates, gradients, pairs."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.analysis import gate_figures, gate_use, pair_figures, training_figures, watch
from dtn_jax.analysis.conflict import batches_of, make_conflict, over_batches
from dtn_jax.analysis.pairs import STRENGTHS, Pairs, found_pairs, pair_strengths
from dtn_jax.analysis.passes import Passes
from dtn_jax.analysis.segments import Segments, described
from dtn_jax.interface import SHARED
from dtn_jax.report import screen
from dtn_jax.run import Run
from dtn_jax.schema import Schema

TOP = 15  # pairs that the JSON names


def gate_facts(passes: Passes, segment: str, parts: Segments, folder: pathlib.Path) -> dict:
    """Mean gate weights over all rows and in each part, by `segment`, and what to warn of."""
    run, tasks = passes.run, passes.run.schema.task_names
    found = passes.map(gate_use.make_gates(run.model, run.plan, run.at.table_mesh))
    weights, effective = (
        gate_use.in_order(found[which], tasks) for which in (gate_use.GATES, gate_use.EFFECTIVE)
    )
    if not weights:
        return {}
    use, scaled = gate_use.mean_use(weights), gate_use.mean_use(effective)
    by_segment = {name: gate_use.mean_use(weights, mask) for name, mask in parts.items()}
    counts = {name: int(mask.sum()) for name, mask in parts.items()}
    labels = {f"{name} ({counts[name]:,})": own for name, own in by_segment.items()}
    gate_figures.gates(use, scaled, labels, described(segment), tasks, folder / "gates.png")
    warnings = gate_use.collapse(use | scaled)
    for warning in warnings:
        screen.say(("collapse:", "bold yellow"), f" {warning}")
    evenness = {gate: gate_use.evenness(own) for gate, own in weights.items()}
    return {
        "use": use,
        "relations": gate_use.relations(use, tasks),
        "effective": {"use": scaled, "relations": gate_use.relations(scaled, tasks)},
        "evenness": evenness,
        "reading": gate_use.reading(evenness, use, by_segment),
        "segment": segment,
        "segments": {name: {"rows": counts[name], "use": own} for name, own in by_segment.items()},
        "collapse": warnings,
    }


def conflict_facts(passes: Passes) -> dict:
    """{task, task: their gradients' cosine, the mean over batches, with half its interval}."""
    run = passes.run
    conflict = make_conflict(run.config.loss, run.model, run.plan, run.at.table_mesh)
    batches = batches_of(passes.count, run.config.data.batch_size)
    facts = {}
    for (task, other), cosines in passes.each(conflict, batches).items():
        mean, half = over_batches(cosines)
        shape = {"batches": batches.shape[0], "batch_rows": batches.shape[1]}
        facts[f"{task}, {other}"] = {"mean": mean, "half": half, **shape}
    return facts


def training_facts(history: Sequence[Mapping], schema: Schema, folder: pathlib.Path) -> dict:
    """What was logged at validations, where analysis.rows was set."""
    found = watch.over_training(history)
    if not any(found.values()):
        return {}
    training_figures.over_training(found, schema.task_names, folder / "over_training.png")
    return {
        "gates": {
            f"{gate} → {source}": points for (gate, source), points in found[watch.GATE].items()
        },
        "cosines": {f"{a}, {b}": points for (a, b), points in found[watch.COSINE].items()},
        "cosine_halves": {f"{a}, {b}": points for (a, b), points in found[watch.HALF].items()},
    }


def pair_facts(passes: Passes, folder: pathlib.Path) -> dict:
    """GDCN's strongest pairs by expert and, where pairs are known, how well those were found."""
    run, fields = passes.run, passes.run.schema.read_names
    found = pair_strengths(passes)
    if not found or len(fields) < 2:
        return {}
    groups = [*run.schema.task_names, SHARED]
    found = dict(sorted(found.items(), key=lambda item: groups.index(group_of(item[0]))))
    truth = {expert: known_pairs(run, group_of(expert)) for expert in found}
    facts, words = {}, {}
    for expert, own in found.items():
        facts[expert] = expert_facts(own, fields, truth[expert])
        judged = facts[expert]["term"].get("all", {})
        if judged.get("auc") is not None:
            words[expert] = f"{judged['known']} known pairs: AUC {judged['auc']:.2f}"
    drawn = {expert: own.strengths["term"] for expert, own in found.items()}
    known = {expert: own.get("all", {}) for expert, own in truth.items()}
    pair_figures.pairs(drawn, fields, known, words, folder / "pairs.png")
    return facts


def group_of(expert: str) -> str:
    """Whose a GDCN expert on the fields is: `click/gdcn_0`, `level_0_click/gdcn_0`: click's."""
    return expert.partition("/")[0].removeprefix("level_0_")


def expert_facts(found: Pairs, fields: Sequence[str], truth: Mapping[str, Mapping]) -> dict:
    facts: dict = {"gates": dict(zip(fields, found.gates.tolist()))}
    rows, columns = np.triu_indices(len(fields), 1)
    for name in STRENGTHS:
        strengths = found.strengths[name]
        top = np.argsort(-strengths[rows, columns], kind="stable")[:TOP]
        facts[name] = {
            "strongest": [
                [fields[i], fields[j], float(strengths[i, j])]
                for i, j in zip(rows[top], columns[top])
            ],
            **{which: found_pairs(strengths, fields, list(own)) for which, own in truth.items()},
        }
    return facts


def known_pairs(run: Run, group: str) -> dict[str, dict[tuple[str, str], float]]:
    """On synthetic data {own: pairs of the group's stage, all: and of the stages before it}.

    A pair's value is its weight in the stage's logit; the group `shared` has all.
    """
    stages = run.data.notes.get("pairs", {}) if run.config.data.dataset == "synthetic" else {}
    if not stages:
        return {}
    names = list(stages)
    own = names if group == SHARED else [group]
    before = names if group == SHARED else names[: names.index(group) + 1]
    return {
        which: {(left, right): weight for n in chosen for left, right, _, weight in stages[n]}
        for which, chosen in (("own", own), ("all", before))
    }
