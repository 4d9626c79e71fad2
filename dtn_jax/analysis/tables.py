"""What was found, in the terminal."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence

import rich.console

from dtn_jax.analysis.figures import ABSOLUTE, FACTOR, about_noise, marked, number, unit, wrapped
from dtn_jax.analysis.importance import Z
from dtn_jax.analysis.titled import titled
from dtn_jax.report.terminal import WIDE

SHOWN = 20  # fields
ROOMY = 3  # keys, at most, whose intervals fit a terminal of WIDE columns


def ranked(by_key: Mapping[str, Mapping[str, Mapping]]) -> list[str]:
    """The fields, the one with the largest mean share of a key's largest first."""
    keys = list(by_key)
    largest = {key: max((one["mean"] for one in by_key[key].values()), default=0) for key in keys}

    def share(field: str) -> float:
        return sum(max(by_key[k][field]["mean"], 0) / largest[k] for k in keys if largest[k] > 0)

    return sorted(by_key[keys[0]], key=share, reverse=True)


def tables(found: Mapping, width: int = WIDE) -> Iterator[rich.console.Group]:
    """Every table of what `explain` found, each under its title; `width`: of the terminal."""
    for method, facts in found["methods"].items():
        yield importance_table(method, facts, width)
    for method, facts in found["methods"].items():
        if len(own_spaces(facts["divergence"]["keys"])) > 1:
            yield divergence_table(method, facts["divergence"])
    known = found["truth"].get("divergence")
    if known and len(own_spaces(known["keys"])) > 1:
        yield divergence_table("permutation of the Bayes-optimal score: the known answer", known)
    if found["truth"]:
        yield agreement_table(found["truth"]["agreement"])
    if found["gates"]:
        yield gates_table(found["gates"])
    if found["conflict"]:
        yield conflict_table(found["conflict"])
    if found["pairs"]:
        yield pairs_table(found["pairs"])


def titles_of(facts: Mapping) -> dict[str, str]:
    """{key: what its metric is called}, of a method; older files are of AUC, and do not say so."""
    return {key: facts.get("metric", {}).get(key, "AUC") for key in facts["importance"]}


def cell(one: Mapping) -> str:
    """An importance and half its 95 % interval."""
    half = FACTOR * Z * one["error"]
    return f"{number(FACTOR * one['mean'])} ± {number(half) if half >= 0.005 else '< 0.01'}"


def bare(one: Mapping, method: str) -> str:
    """An importance without its interval."""
    return marked(FACTOR * one["mean"], method == ABSOLUTE or one["mean"] > Z * one["error"])


def importance_table(method: str, facts: Mapping, width: int = WIDE) -> rich.console.Group:
    """With intervals where there is room for them; many keys are in several tables."""
    by_key = facts["importance"]
    fields, roomy = ranked(by_key), len(by_key) <= ROOMY

    def text(one: Mapping) -> str:
        return cell(one) if roomy else bare(one, method)

    rows = [
        [field, *(text(by_field[field]) for by_field in by_key.values())]
        for field in fields[:SHOWN]
    ]
    rest = len(fields) - len(rows)
    below = f"{rest} less important fields are in importance.csv\n" if rest else ""
    what = "± half its 95 % interval" if roomy else about_noise(method)
    title = f"{method}: {unit(method, titles_of(facts).values())}, {what}"
    return titled(title, ["field", *map(wrapped, by_key)], rows, below, width=width)


def divergence_table(method: str, facts: Mapping) -> rich.console.Group:
    """Of the tasks in the spaces of their losses: of all spaces there are many pairs."""
    columns = ["tasks", "1 − Spearman", "95 % interval", "noise alone"]
    rows = [
        [f"{left}, {right}", value, ends, noise]
        for left, right, value, ends, noise in divergences(facts, own_spaces(facts["keys"]))
    ]
    rest = len(list(divergences(facts))) - len(rows)
    below = f"{rest} pairs in other spaces are in importance.json\n" if rest else ""
    title = f"divergence between tasks, by {method}"
    return titled(title, columns, rows, below, whole=(1, 2, 3))


def own_spaces(keys: Sequence[str]) -> list[str]:
    """Each task's first key: in the space of its loss, unless its metric is not defined there."""
    first: dict[str, str] = {}
    for key in keys:
        first.setdefault(key.partition("@")[0], key)
    return list(first.values())


def divergences(
    facts: Mapping, shown: Collection[str] | None = None
) -> Iterator[tuple[str, str, str, str, str]]:
    """(key, key, divergence, interval, divergence of each from itself) of every two keys shown."""
    keys = facts["keys"]
    for (i, left), (j, right) in itertools.combinations(enumerate(keys), 2):
        if shown is None or {left, right} <= set(shown):
            value, low, high = (decimals(facts[what][i][j]) for what in ("value", "low", "high"))
            noise = f"{decimals(facts['itself'][i])}, {decimals(facts['itself'][j])}"
            yield left, right, value, f"{low} to {high}", noise


def decimals(value: float | int | None, absent: str = "n/d") -> str:
    return absent if value is None else f"{value:.3f}"


def agreement_table(agreement: Mapping[str, Mapping[str, Mapping]]) -> rich.console.Group:
    title = "rank correlation with the importance of the Bayes-optimal score (fields above noise)"
    rows = [
        [
            method,
            *(f"{decimals(o['rank_correlation'])}\n({o['fields']})" for o in by_key.values()),
        ]
        for method, by_key in agreement.items()
    ]
    return titled(title, ["method", *map(wrapped, next(iter(agreement.values())))], rows)


def gate_rows(gates: Mapping) -> tuple[list[str], list[list[str]]]:
    """Header and rows: each gate's weights by whose the experts are, and its evenness.

    Below it its effective weights, where something scales the experts after it.
    """
    relations, effective = gates["relations"], gates["effective"]["relations"]
    kinds = list(dict.fromkeys(kind for sums in relations.values() for kind in sums))

    def cells(sums: Mapping[str, float]) -> list[str]:
        return [f"{100 * sums[k]:.1f} %" if k in sums else "" for k in kinds]

    rows = []
    for gate, sums in relations.items():
        rows.append([gate, *cells(sums), decimals(gates["evenness"][gate], "")])
        if gate in effective:
            rows.append([f"{gate}, effective", *cells(effective[gate]), ""])
    return ["gate", *kinds, "evenness"], rows


def gates_table(gates: Mapping) -> rich.console.Group:
    title = "mean gate weights, by whose the experts are; evenness 1: equal weights in every row"
    below = [gates["reading"]] if gates["reading"] else []
    if gates["effective"]["use"]:
        below.insert(0, "effective: times what scales experts after the gate (TSN, AdaTT's native)")
    return titled(title, *gate_rows(gates), "\n".join([*below, ""]))


def pairs_table(pairs: Mapping) -> rich.console.Group:
    """Where pairs are known, how well each GDCN's first layer has them; else its strongest."""
    known = any("all" in facts["term"] for facts in pairs.values())
    if known:
        title = "GDCN's first layer: AUC of known pairs, and how many of the strongest are known"
        return titled(title, *known_pair_rows(pairs))
    rows = [[expert, strongest(facts)] for expert, facts in pairs.items()]
    return titled("GDCN's first layer: its strongest field pairs", ["expert", "pairs"], rows)


def known_pair_rows(pairs: Mapping) -> tuple[list[str], list[list[str]]]:
    """Header and rows, for the pairs of a group's own stage, and of all up to it."""
    rows = []
    for expert, facts in pairs.items():
        for strength in ("norm", "term"):
            cells = []
            for which in ("own", "all"):
                one = facts[strength][which]
                cells += [decimals(one["auc"]), f"{one['found']} of {one['known']}"]
            rows.append([expert, strength, *cells])
    return ["expert", "by", "own: AUC", "found", "up to it: AUC", "found"], rows


def strongest(facts: Mapping) -> str:
    return ", ".join(f"{left} × {right}" for left, right, _ in facts["term"]["strongest"][:3])


def conflict_table(conflict: Mapping[str, Mapping]) -> rich.console.Group:
    rows = [
        [
            pair,
            cosine(one),
            f"{one['batches']} of {one['batch_rows']:,} rows",
        ]
        for pair, one in conflict.items()
    ]
    title = "cosine of gradients at the shared embeddings, best state, ± half its 95 % interval"
    return titled(title, ["tasks", "cosine", "batches"], rows)


def cosine(one: Mapping) -> str:
    """A cosine and half its 95 % interval, where several batches give one."""
    half = "" if one["half"] is None else f" ± {decimals(one['half'])}"
    return decimals(one["mean"]) + half
