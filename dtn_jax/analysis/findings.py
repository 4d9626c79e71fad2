"""What was found of one model, or of models that differ in the seed alone, as long tables.

A model is what its importance.json holds. A table is a list of rows, each with its `seed`; one
model is the special case of one seed. `over_seeds` gathers the seeds of a row. All are read on the
same rows, permuted alike, so what differs between seeds is the model. The errors and intervals of
rows and permutations are one model's: over seeds they are averaged.
"""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from dtn_jax.analysis.gate_use import relation
from dtn_jax.analysis.rank import spearman

Found = Mapping  # what importance.json holds
Row = dict


def rows(found: Sequence[Found], path: str, *levels: str) -> list[Row]:
    """A row a seed and entry of a part of importance.json.

    Args:
      found: by seed.
      path: to the part: 'gates/use'.
      levels: what the keys of the part, of its values and so on are called in a row. What is
        below them is the row's `value`, or its columns where it is a dict.
    """

    def below(part: Mapping, names: Sequence[str], row: Row) -> Iterator[Row]:
        for key, value in part.items():
            own = row | {names[0]: key}
            if len(names) > 1:
                yield from below(value, names[1:], own)
            else:
                yield own | (value if isinstance(value, Mapping) else {"value": value})

    table = []
    for place, part in enumerate(found, 1):
        seed = part.get("seed", place)
        for name in path.split("/"):
            part = part.get(name, {})
        table += below(part, levels, {"seed": seed})
    return table


def over_seeds(table: Iterable[Row], *by: str) -> list[Row]:
    """A row of each of `by`, with a list over seeds in every other column."""
    gathered: dict[tuple, Row] = {}
    for row in table:
        one = gathered.setdefault(tuple(row[name] for name in by), {name: row[name] for name in by})
        for name, value in row.items():
            if name not in by:
                one.setdefault(name, []).append(value)
    return list(gathered.values())


def mean(values: Iterable[float | None]) -> float | None:
    """Of those that are defined; None of none."""
    defined = [v for v in values if v is not None and math.isfinite(v)]
    return statistics.fmean(defined) if defined else None


def importances(found: Sequence[Found], method: str, most: int) -> tuple[list[Row], int]:
    """A row a seed, key and field, with `mean` and `error`, of so many fields that are the first of
    `ranked`, in that order; and how many others there are."""
    fields = ranked(found, method)
    table = rows(found, f"methods/{method}/importance", "key", "field")
    table = [row for row in table if row["field"] in fields[:most]]
    return sorted(table, key=lambda row: fields.index(row["field"])), len(fields[most:])


def ranked(found: Sequence[Found], method: str) -> list[str]:
    """The fields, the one with the largest mean share of a key's largest first."""
    every = [one["methods"][method]["importance"].values() for one in found]
    means = np.mean([[[f["mean"] for f in own.values()] for own in one] for one in every], axis=0)
    largest = np.maximum(means.max(axis=1, keepdims=True), 1e-300)
    shares = (np.maximum(means, 0) / largest).sum(axis=0)
    fields = list(next(iter(every[0])))
    return [fields[place] for place in np.argsort(-shares, kind="stable")]


def in_own_spaces(table: Sequence[Row]) -> list[Row]:
    """Of `divergences` those between each task's first key: in the space of its loss, unless its
    metric is not defined there."""
    first: dict[str, str] = {}
    for row in table:
        for key in (row["left"], row["right"]):
            first.setdefault(key.partition("@")[0], key)
    return [row for row in table if {row["left"], row["right"]} <= {*first.values()}]


def divergences(found: Sequence[Found], method: str = "") -> list[Row]:
    """How far every two keys diverge by a method; '' is of the Bayes-optimal score, where known.

    Returns:
      Rows with `left` and `right`, the keys; by seed `value`, `low` and `high`; `noise`, of each
      key what another sample of rows makes of one model; `seeds`, of each key the mean divergence
      of its importances between two seeds' models, None where there is one; `agree`, whether each
      seed's value lies in the intervals of all, None where that is not defined; and `known`, the
      Bayes-optimal score's.
    """
    facts = [one["methods"][method] if method else one["truth"] for one in found]
    if not all("divergence" in own for own in facts):
        return []
    every = [own["divergence"] for own in facts]
    keys, known = every[0]["keys"], found[0]["truth"].get("divergence")
    noise = [mean(one["itself"][k] for one in every) for k in range(len(keys))]
    between = [between_seeds(facts, key) for key in keys]
    table = []
    for i, j in itertools.combinations(range(len(keys)), 2):
        seen = {what: [one[what][i][j] for one in every] for what in ("value", "low", "high")}
        row = {"left": keys[i], "right": keys[j], **seen, "agree": agree(**seen)}
        row |= {"noise": (noise[i], noise[j]), "seeds": (between[i], between[j])}
        table.append(row | {"known": known["value"][i][j] if known else None})  # of the same keys
    return table


def between_seeds(facts: Sequence[Mapping], key: str) -> float | None:
    """The mean divergence of one key's importances between two seeds."""
    means = [[one["mean"] for one in own["importance"][key].values()] for own in facts]
    pairs = itertools.combinations(np.array(means, float), 2)
    return mean(float(1 - spearman(a, b)) for a, b in pairs)


def agree(
    value: Sequence[float | None], low: Sequence[float | None], high: Sequence[float | None]
) -> bool | None:
    """Whether each seed's value lies in the intervals of all."""
    if len(value) < 2 or None in (*value, *low, *high):
        return None
    return max(low) <= min(value) and max(value) <= min(high)


def gate_weights(found: Sequence[Found]) -> list[Row]:
    """A row a seed, gate and kind of expert: `weight`, the sum over those of one group and kind,
    `equal`, what they would have of equal weights, and `whose` they are.

    Seeds can be compared by these: which of a group's experts of one kind does what is chance. Of
    one model each expert is a kind.
    """
    tasks = list(dict.fromkeys(gate.partition("/")[0] for gate in found[0]["gates"]["use"]))
    sums: dict[tuple, Row] = {}
    for row in rows(found, "gates/use", "gate", "source"):
        gate, source = row["gate"], row["source"]
        name = kind(source) if len(found) > 1 else source
        whose = relation(gate, source, tasks)
        new = {"seed": row["seed"], "gate": gate, "kind": name, "whose": whose}
        own = sums.setdefault((row["seed"], gate, name), new | {"weight": 0, "equal": 0})
        own["weight"] += row["value"]
        own["equal"] += 1 / len(found[0]["gates"]["use"][gate])
    return list(sums.values())


def kind(source: str) -> str:
    """`shared/mlp` of `shared/mlp_0`."""
    return re.sub(r"_\d+$", "", source) if "/" in source else source
