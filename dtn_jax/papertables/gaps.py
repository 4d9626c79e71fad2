"""What the table `divergence` says beside the others: how far each model is from the best AUC.

The gap of a run is the Bayes-optimal score's AUC on the test split less its own. AUCs of different
levels cannot be compared, since the best one differs; gaps can. Each task is tested in the space of
its loss, and the mean of these tasks, MEAN, is what the sentences are about. Holm's correction is
over the rows of a level: for MEAN, and for the tasks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from dtn_jax.errors import UserError
from dtn_jax.metrics.significance import Comparison, compare, holm
from dtn_jax.models.experts import parse_experts
from dtn_jax.papertables import pays
from dtn_jax.papertables.content import comparisons, same
from dtn_jax.papertables.draws import own_spaces, unpacked
from dtn_jax.papertables.protocol import OURS, Entry, Protocol
from dtn_jax.papertables.seeds import of_seeds

MEAN = "mean of tasks"
GROUPS = "model.dtn.task_groups"


def with_gaps(
    found: Mapping,
    protocol: Protocol,
    entries: Sequence[Entry],
    cells: Mapping[str, Sequence[dict]],
    notes: Mapping[str, Mapping],
) -> dict:
    """The content of a table, with gaps, their comparisons, its levels and its sentences.

    Args:
      found: what `content` says.
      protocol, entries, cells: as there.
      notes: {entry: the notes of its data set}.
    """
    tested = [
        key
        for key in (own_spaces(found["rows"][0]["metrics"]) if found["rows"] else ())
        if not protocol.tested or key.partition("@")[0] in protocol.tested
    ]
    for row in found["rows"]:
        if "test_bayes_auc" not in notes[row["name"]]:
            raise UserError(f"divergence: the best AUC on {found['dataset']} is not known")
        best = notes[row["name"]]["test_bayes_auc"]
        aucs = {key: own["auc"] for key, own in row["metrics"].items()}
        aucs[MEAN] = np.mean([aucs[key] for key in tested], axis=0).tolist()
        best = best | {MEAN: float(np.mean([best[key] for key in tested]))}
        row["metrics"][MEAN] = {"auc": aucs[MEAN]}
        for key, values in aucs.items():
            row["metrics"][key]["gap"] = [best[key] - value for value in values]
        row["best"] = best
        row["true_divergence"] = mean_divergence(notes[row["name"]])
        own, other = cells[row["name"]], cells.get(row["against"], ())
        if min(len(own), len(other)) > 1 and not same(own, other) and not row["few"]:
            row["comparison"][MEAN] = compare_means(own, other, tested)
    correct(found["rows"])
    gains = gains_by_rival(found, entries)
    ours = f"`{found.get('ours', OURS)}`"
    return {
        **found,
        "tested_keys": tested,
        "gains": {against: [dataclasses.asdict(g) for g in own] for against, own in gains.items()},
        "sentences": [pays.sentence(own, ours, against) for against, own in gains.items()],
    }


def mean_divergence(notes: Mapping) -> float:
    """Of every two tasks' stages."""
    return float(np.mean([v for own in notes["true_divergence"].values() for v in own.values()]))


def compare_means(own: Sequence[dict], other: Sequence[dict], keys: Sequence[str]) -> dict:
    """Compares the mean of the keys' AUCs, as `content.compare_all` compares each."""
    draws = (np.stack([np.mean([unpacked(c, k) for k in keys], axis=0) for c in side])
             for side in (own, other))  # fmt: skip
    aucs = [
        np.array([np.mean([c["results"]["test"][k]["auc"] for k in keys]) for c in side])
        for side in (own, other)
    ]
    return compare(*draws, *aucs)._asdict() | of_seeds(*aucs)


def correct(rows: Sequence[dict]) -> None:
    """Gives each comparison its p after Holm's correction over its level."""
    families: dict[tuple, dict[tuple, dict]] = {}
    for row in rows:
        for key, test in comparisons(row).items():
            family = families.setdefault((row["group"], row["at"], key == MEAN), {})
            family[row["name"], key] = test
    for family in families.values():
        adjusted = holm({name: test["p"] for name, test in family.items()})
        for name, test in family.items():
            test["p_holm"] = adjusted[name]


def gains_by_rival(found: Mapping, entries: Sequence[Entry]) -> dict[str, list[pays.Gain]]:
    """{whom ours is compared with: the gain of each level of the first dial}, the mean of tasks.

    Of a shortened table there is none, nor while a run of that dial is missing.
    """
    first = [e.name for e in entries if e.group == entries[0].group]
    if "shortened" in found or set(first) & set(found["missing"]):
        return {}
    rows = [row for row in found["rows"] if row["name"] in first]
    ours = next(row["tuned_as"] for row in rows if row["name"] == row["against"])
    made = {against: gains_over(rows, which) for against, which in rivals(rows, ours).items()}
    return {against: gains for against, gains in made.items() if gains}


def rivals(rows: Sequence[Mapping], ours: str) -> dict[str, list[str]]:
    """{what they are: the entries}, of those that ours is compared with in a sentence."""
    names = {r["tuned_as"]: r for r in rows}
    routing = names[ours]["common"]["model.architecture"]
    others = {n: r for n, r in names.items() if r["common"]["model.architecture"] != routing}
    plain = [n for n, r in others.items() if set(parse_experts(r["experts"])) == {"mlp"}]
    alike = [n for n in others if n not in plain]
    told = {f"`{n}`": [n] for n, r in names.items() if r["common"].get(GROUPS) == "False"}
    for some, what in ((plain, "rivals with MLP experts"), (alike, "rivals with its experts")):
        if some:
            best = f"the best of {len(some)} {what}" if len(some) > 1 else f"`{some[0]}`"
            told[best] = some
    return told


def gains_over(rows: Sequence[Mapping], which: Sequence[str]) -> list[pays.Gain]:
    """Ours over the best of these entries, level by level; [] where a level is not tested."""
    levels: dict[str, dict[str, Mapping]] = {}
    for row in rows:
        levels.setdefault(row["at"], {})[row["tuned_as"]] = row
    gains = []
    for at, own in levels.items():
        tests = {name: comparisons(own[name]).get(MEAN) for name in which}
        if None in tests.values():
            return []
        made = {n: Comparison(*(t[name] for name in Comparison._fields)) for n, t in tests.items()}
        gains.append(pays.over_all(at, next(iter(own.values()))["true_divergence"], made))
    return gains
