"""What was found of one model, or of models that differ in the seed alone, as long tables.

A model is what its importance.json holds; every table has a column `seed`, and one model is the
special case of one seed. All are read on the same rows, permuted alike, so what differs between
seeds is the model. The errors and intervals of rows and permutations are one model's: over seeds
they are averaged.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from dtn_jax.analysis.gate_use import relation
from dtn_jax.analysis.rank import spearman

Found = Mapping  # what importance.json holds


def table(rows: Iterable[Mapping]) -> pl.DataFrame:
    """A table of rows; what is nowhere defined is a number too."""
    return pl.DataFrame(list(rows), infer_schema_length=None).cast({pl.Null: pl.Float64})


def _seeds(found: Sequence[Found]) -> Iterator[tuple[int, Found]]:
    for place, one in enumerate(found, 1):
        yield one.get("seed", place), one


def over_seeds(table: pl.DataFrame, by: Sequence[str], *values: str) -> pl.DataFrame:
    """A row of each of `by`: the mean of each value, its deviation over seeds, and those of all.

    What is not defined in a seed has no part in the mean; the deviation of fewer than two is null.
    """
    return table.group_by(by, maintain_order=True).agg(
        pl.col(values).mean(),
        pl.col(values).std().name.suffix("_deviation"),
        pl.col(values).implode().name.suffix("_values"),
    )


def importances(found: Sequence[Found], method: str) -> pl.DataFrame:
    """A row a seed, key and field: `mean`, and the `error` of rows and permutations."""
    return table(
        {"seed": seed, "key": key, "field": field, "mean": one["mean"], "error": one["error"]}
        for seed, own in _seeds(found)
        for key, by_field in own["methods"][method]["importance"].items()
        for field, one in by_field.items()
    )


def ranked(found: Sequence[Found], method: str) -> list[str]:
    """The fields, the one with the largest mean share of a key's largest first."""
    means = over_seeds(importances(found, method), ("key", "field"), "mean")
    largest = pl.col("mean").max().over("key").clip(1e-300)
    means = means.with_columns(share=pl.col("mean").clip(0) / largest)
    shares = means.group_by("field", maintain_order=True).agg(pl.col("share").sum())
    return shares.sort("share", descending=True, maintain_order=True)["field"].to_list()


def own_spaces(keys: Iterable[str]) -> list[str]:
    """Each task's first key: in the space of its loss, unless its metric is not defined there."""
    first: dict[str, str] = {}
    for key in keys:
        first.setdefault(key.partition("@")[0], key)
    return list(first.values())


def divergences(found: Sequence[Found], method: str = "") -> list[dict]:
    """How far every two keys diverge by a method; '' is of the Bayes-optimal score, where known.

    Returns:
      Rows with `left` and `right`, the keys; over seeds `value`, `low` and `high`, with
      `value_deviation`, `value_values` and so on; `noise`, of each key what another sample of rows
      makes of one model; `seeds`, of each key the mean divergence of its importances between two
      seeds' models, None where there is one; `agree`, whether each seed's value lies in the
      intervals of all, None where that is not defined; and `known`, the Bayes-optimal score's.
    """
    facts = [one["methods"][method] if method else one["truth"] for one in found]
    if not all("divergence" in own for own in facts):
        return []
    keys = facts[0]["divergence"]["keys"]
    pairs = list(itertools.combinations(range(len(keys)), 2))
    ends = table(
        {"left": keys[i], "right": keys[j]}
        | {what: own["divergence"][what][i][j] for what in ("value", "low", "high")}
        for own in facts
        for i, j in pairs
    )
    if not pairs:
        return []
    noise = [_mean([own["divergence"]["itself"][k] for own in facts]) for k in range(len(keys))]
    between = [between_seeds(facts, key) for key in keys]
    truth = found[0]["truth"].get("divergence")
    rows = over_seeds(ends, ("left", "right"), "value", "low", "high").to_dicts()
    for row, (i, j) in zip(rows, pairs):
        row["noise"], row["seeds"] = (noise[i], noise[j]), (between[i], between[j])
        row["agree"] = agree(*(row[f"{what}_values"] for what in ("value", "low", "high")))
        row["known"] = None
        if truth:
            row["known"] = truth["value"][i][j]  # of the same keys
    return rows


def _mean(values: Iterable[float | None]) -> float | None:
    """Of those that are defined."""
    defined = [v for v in values if v is not None and math.isfinite(v)]
    return sum(defined) / len(defined) if defined else None


def between_seeds(facts: Sequence[Mapping], key: str) -> float | None:
    """The mean divergence of one key's importances between two seeds."""
    means = [[one["mean"] for one in own["importance"][key].values()] for own in facts]
    pairs = itertools.combinations(np.array(means, float), 2)
    return _mean(float(1 - spearman(a, b)) for a, b in pairs)


def agree(
    value: Sequence[float | None], low: Sequence[float | None], high: Sequence[float | None]
) -> bool | None:
    """Whether each seed's value lies in the intervals of all."""
    if len(value) < 2 or None in (*value, *low, *high):
        return None
    return max(low) <= min(value) and max(value) <= min(high)


def gate_weights(found: Sequence[Found]) -> pl.DataFrame:
    """A row a seed, gate and kind of expert: `weight`, the sum over those of one group and kind,
    how many `experts` these are, and `whose`.

    Seeds can be compared by these: which of a group's experts of one kind does what is chance.
    """
    tasks = list(dict.fromkeys(gate.partition("/")[0] for gate in found[0]["gates"]["use"]))
    experts = table(
        {"seed": seed, "gate": gate, "kind": kind(source), "weight": weight}
        | {"whose": relation(gate, source, tasks)}
        for seed, own in _seeds(found)
        for gate, weights in own["gates"]["use"].items()
        for source, weight in weights.items()
    )
    by = ("seed", "gate", "kind", "whose")
    return experts.group_by(by, maintain_order=True).agg(pl.col("weight").sum(), experts=pl.len())


def kind(source: str) -> str:
    """`shared/mlp` of `shared/mlp_0`."""
    return re.sub(r"_\d+$", "", source) if "/" in source else source


def strongest(weights: pl.DataFrame) -> dict[str, list[str]]:
    """{gate of several kinds: by seed, the kind of which an expert has most weight}."""
    alone = pl.col("weight") / pl.col("experts")
    found = weights.group_by("gate", "seed", maintain_order=True).agg(
        pl.col("kind").get(alone.arg_max()), kinds=pl.len()
    )
    by_gate = found.filter(pl.col("kinds") > 1).group_by("gate", maintain_order=True)
    return dict(by_gate.agg("kind").iter_rows())


def relations(found: Sequence[Found]) -> pl.DataFrame:
    """A row a seed, gate and whose experts: `weight`; `scaled` is of effective weights."""
    return table(
        {"seed": seed, "gate": gate, "whose": whose, "weight": weight, "scaled": scaled}
        for seed, own in _seeds(found)
        for scaled, part in ((False, own["gates"]), (True, own["gates"]["effective"]))
        for gate, sums in part["relations"].items()
        for whose, weight in sums.items()
    )


def cosines(found: Sequence[Found]) -> pl.DataFrame:
    """A row a seed and pair of tasks: the `mean` over batches, and `half` its 95 % interval."""
    return table(
        {"seed": seed, "tasks": tasks, **one}
        for seed, own in _seeds(found)
        for tasks, one in own["conflict"].items()
    )
