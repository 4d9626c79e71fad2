"""What was found of models that differ in the seed alone: means over seeds, and their spread.

Each model is read on the same rows, permuted alike, so what differs between seeds is the model. The
errors and intervals of rows and permutations are one model's: here stands their mean over seeds.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dtn_jax.analysis.rank import spearman

Found = Mapping  # what importance.json holds


@dataclasses.dataclass(frozen=True)
class Spread:
    """A number by seed.

    Attributes:
      values: None in a seed in which it is not defined.
      mean: of the others; None where it is defined in none.
      deviation: the sample standard deviation; None of fewer than two.
    """

    values: tuple[float | None, ...]
    mean: float | None
    deviation: float | None


def spread(values: Sequence[float | None]) -> Spread:
    known = [v for v in values if v is not None]
    return Spread(
        tuple(values),
        statistics.mean(known) if known else None,
        statistics.stdev(known) if len(known) > 1 else None,
    )


@dataclasses.dataclass(frozen=True)
class Divergence:
    """How far two keys diverge.

    Attributes:
      keys: the two.
      value: by seed.
      low, high: the ends of each seed's interval.
      noise: of each key, what another sample of rows makes of one model; the mean over seeds.
      seeds: of each key, the mean divergence of its importances between two seeds' models; None
        where there is one.
      agree: whether each seed's divergence lies in the intervals of all others; None where one is
        not defined, or there is one seed.
    """

    keys: tuple[str, str]
    value: Spread
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    noise: tuple[float | None, float | None]
    seeds: tuple[float | None, float | None]
    agree: bool | None


def importances(found: Sequence[Found], method: str) -> dict[str, dict[str, dict]]:
    """{key: {field: {mean, error, deviation, values}}}, as a single model's and more."""
    every = [one["methods"][method]["importance"] for one in found]
    made: dict[str, dict[str, dict]] = {}
    for key, by_field in every[0].items():
        for field in by_field:
            ones = [by_key[key][field] for by_key in every]
            own = dataclasses.asdict(spread([one["mean"] for one in ones]))
            error = statistics.mean(one["error"] for one in ones)
            made.setdefault(key, {})[field] = own | {"error": error}
    return made


def divergences(found: Sequence[Found], method: str) -> Iterator[Divergence]:
    """Of every two keys, in their order."""
    facts = [one["methods"][method]["divergence"] for one in found]
    by_seed = [one["methods"][method]["importance"] for one in found]
    keys = facts[0]["keys"]
    alone = [spread([own["itself"][k] for own in facts]).mean for k in range(len(keys))]
    between = [between_seeds(by_seed, key) for key in keys]
    for (i, left), (j, right) in itertools.combinations(enumerate(keys), 2):
        value, low, high = (
            tuple(own[what][i][j] for own in facts) for what in ("value", "low", "high")
        )
        yield Divergence(
            (left, right),
            spread(value),
            low,
            high,
            (alone[i], alone[j]),
            (between[i], between[j]),
            agree(value, low, high),
        )


def between_seeds(by_seed: Sequence[Mapping], key: str) -> float | None:
    """The mean divergence of one key's importances between two seeds."""
    means = np.array([[o["mean"] for o in by_key[key].values()] for by_key in by_seed], float)
    found = [float(1 - spearman(a, b)) for a, b in itertools.combinations(means, 2)]
    return spread([value if math.isfinite(value) else None for value in found]).mean


def agree(
    value: Sequence[float | None], low: Sequence[float | None], high: Sequence[float | None]
) -> bool | None:
    """Whether each seed's value lies in the intervals of all."""
    if len(value) < 2 or None in (*value, *low, *high):
        return None
    return max(low) <= min(value) and max(value) <= min(high)


def truths(found: Sequence[Found]) -> dict[tuple[str, str], float | None]:
    """{two keys: the divergence of the Bayes-optimal score}, the same for all seeds' rows."""
    known = found[0]["truth"].get("divergence", {"keys": []})
    keys = known["keys"]
    return {
        (left, right): known["value"][i][j]
        for i, left in enumerate(keys)
        for j, right in enumerate(keys)
    }


def kinds(use: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Gate weights by the kind of expert: the sum over those of one group and kind.

    Seeds can be compared by these: which of a group's experts of one kind does what is chance.
    """
    made: dict[str, dict[str, float]] = {}
    for gate, weights in use.items():
        own = made.setdefault(gate, {})
        for source, weight in weights.items():
            kind = re.sub(r"_\d+$", "", source) if "/" in source else source
            own[kind] = own.get(kind, 0.0) + weight
    return made


def counts(use: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, int]]:
    """How many experts a kind has, of each gate, in the order of `kinds`."""
    ones = {gate: dict.fromkeys(weights, 1.0) for gate, weights in use.items()}
    return {gate: {k: round(n) for k, n in own.items()} for gate, own in kinds(ones).items()}


def gate_weights(found: Sequence[Found]) -> dict[str, dict[str, Spread]]:
    """{gate: {kind of expert: its mean weight by seed}}"""
    by_seed = [kinds(one["gates"]["use"]) for one in found]
    return nested(by_seed)


def nested(by_seed: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, Spread]]:
    """{a: {b: the spread of what the seeds have there}}"""
    return {
        a: {b: spread([own[a][b] for own in by_seed]) for b in inner}
        for a, inner in by_seed[0].items()
    }


def strongest(weights: Mapping[str, Spread], counts: Mapping[str, int]) -> list[str]:
    """By seed, the kind of which an expert has most weight."""
    seeds = range(len(next(iter(weights.values())).values))
    return [max(weights, key=lambda kind: weights[kind].values[s] / counts[kind]) for s in seeds]
