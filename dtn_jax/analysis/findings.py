"""What one model, or models that differ in the seed alone, say of themselves: long tables.

A model is what its importance.json holds, and a finding is a list of rows in it. `table` puts the
seeds' rows below each other, with a column `seed`; one model is the special case of one seed.
`over_seeds` gathers the seeds of a row. All are read on the same rows, permuted alike, so what
differs between seeds is the model. The intervals of rows and permutations are one model's: over
seeds their ends are averaged.
"""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from dtn_jax.analysis.gate_use import ALL
from dtn_jax.analysis.rank import spearman

Model = Mapping  # what importance.json holds
Row = dict


def table(models: Iterable[Model], finding: str, **equal: object) -> list[Row]:
    """The rows of a finding, of all seeds, or those whose columns equal these values."""
    rows = ({"seed": model["seed"]} | row for model in models for row in model[finding])
    return [row for row in rows if all(row[name] == value for name, value in equal.items())]


def over_seeds(rows: Iterable[Row], *by: str) -> list[Row]:
    """A row of each of `by`, with a list over seeds in every other column."""
    gathered: dict[tuple, Row] = {}
    for row in rows:
        one = gathered.setdefault(tuple(row[name] for name in by), {name: row[name] for name in by})
        for name, value in row.items():
            if name not in by:
                one.setdefault(name, []).append(value)
    return list(gathered.values())


def mean(values: Iterable[float | None]) -> float | None:
    """Of those that are defined; None of none."""
    defined = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.fmean(defined) if defined else None


def importances(models: Sequence[Model], method: str, most: int) -> tuple[list[Row], int]:
    """The importances by a method of so many fields, those with the largest mean share of a key's
    largest first; and how many others there are."""
    rows = table(models, "importance", method=method)
    fields = list(dict.fromkeys(row["field"] for row in rows))
    means = np.array([row["importance"] for row in rows]).reshape(len(models), -1, len(fields))
    means = np.maximum(means.mean(axis=0), 0)  # [K, F]
    shares = (means / np.maximum(means.max(axis=1, keepdims=True), 1e-300)).sum(axis=0)
    ranked = [fields[place] for place in np.argsort(-shares, kind="stable")]
    kept = [row for row in rows if row["field"] in ranked[:most]]
    return sorted(kept, key=lambda row: ranked.index(row["field"])), len(ranked[most:])


def divergences(models: Sequence[Model], method: str) -> list[Row]:
    """How far every two keys diverge by a method, over seeds: see rank.py.

    With `seeds_left` and `seeds_right`, the mean divergence of each key's importances between two
    seeds' models, None where there is one; and `agree`, whether each seed's value lies in the
    intervals of all, None where that is not defined.
    """
    rows = over_seeds(table(models, "divergence", method=method), "left", "right")
    by_key = over_seeds(table(models, "importance", method=method), "key", "seed")
    vectors: dict[str, list] = {}
    for row in by_key:
        vectors.setdefault(row["key"], []).append(np.array(row["importance"]))
    between = {
        key: mean(float(1 - spearman(a, b)) for a, b in itertools.combinations(by_seed, 2))
        for key, by_seed in vectors.items()
    }
    for row in rows:
        row |= {f"seeds_{side}": between[row[side]] for side in ("left", "right")}
        row["agree"] = agree(row["divergence"], row["low"], row["high"])
    return rows


def agree(
    value: Sequence[float | None], low: Sequence[float | None], high: Sequence[float | None]
) -> bool | None:
    """Whether each seed's value lies in the intervals of all."""
    if len(value) < 2 or None in (*value, *low, *high):
        return None
    return max(low) <= min(value) and max(value) <= min(high)


def in_own_spaces(rows: Sequence[Row]) -> list[Row]:
    """Of `divergences` those between each task's first key: in the space of its loss, unless its
    metric is not defined there."""
    first: dict[str, str] = {}
    for row in rows:
        for key in (row["left"], row["right"]):
            first.setdefault(key.partition("@")[0], key)
    return [row for row in rows if {row["left"], row["right"]} <= {*first.values()}]


def gate_weights(models: Sequence[Model], name: Callable[[Row], str], part: str = ALL) -> list[Row]:
    """A row a seed, gate and `name` of sources: the sums of their `weight`, and of what they would
    have of `equal` weights."""
    rows = table(models, "gates", part=part)
    count = Counter((row["seed"], row["gate"]) for row in rows)
    sums: dict[tuple, Row] = {}
    for row in rows:
        seed, gate = row["seed"], row["gate"]
        new = row | {"name": name(row), "weight": 0, "equal": 0}
        one = sums.setdefault((seed, gate, name(row)), new)
        one["weight"] += row["weight"]
        one["equal"] += 1 / count[seed, gate]
    return list(sums.values())


def kind(row: Row) -> str:
    """`shared/mlp` of the source `shared/mlp_0`: which of a group's experts of one kind does what
    is chance, and differs between seeds."""
    source = row["source"]
    return re.sub(r"_\d+$", "", source) if "/" in source else source
