"""How often does `compare` see a difference between two equal models? A simulation of thousands.

    python docs/tools/null_calibration.py    # an hour

It writes the table of experiments/results/null_calibration.md.

Each situation draws test rows and the scores of two models that are equally good, and compares them
as `dtn-jax compare` does. A test of size 0.05 finds a difference in 5 % of them, and its 95 %
intervals hold 0 in 95 %. For single runs, equal means states whose scores could be exchanged; for
several seeds, models whose seeds scatter around one level.

Power is that of finding a true difference of two standard errors, over that of a bootstrap of units
(what `compare` did before), wherever that one holds its size. A constant of that size is added to
each unit's part of the difference; for predicted/observed, the predictions of A are multiplied.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import multiprocessing
import pathlib
import re
import tempfile
from collections.abc import Sequence

import numpy as np
import polars as pl

from dtn_jax.cli import compare
from dtn_jax.comparison.differences import Difference, differences
from dtn_jax.comparison.scored_rows import ScoredRows
from dtn_jax.metrics import METRICS, Influence, Units, influences, paired
from dtn_jax.metrics.metric import Rows
from dtn_jax.metrics.rates import wilson
from dtn_jax.metrics.significance import drawn_seeds

PAGE = pathlib.Path("experiments/results/null_calibration.md")
PLACE = re.compile(r"(<!-- null calibration -->\n).*?(<!-- end -->)", re.DOTALL)
COMPARISONS, DRAWS = 2000, 1000
MOST, COVERED, POWERFUL = 0.07, 0.93, 0.9
SIZE = 0.06  # of the bootstrap at most, where power is compared: 0.05 give as much by chance
SKILL = 0.1  # a seed's scatter of skill, where there are several


@dataclasses.dataclass(frozen=True)
class Situation:
    """What test looks like, and what is compared.

    Attributes:
      name: for the table.
      groups, rows: how many groups, and rows in a group on average; 0 groups: rows are units.
      seeds: runs of A and of B.
      zipf: whether the sizes of groups fall as 1 / rank.
      heavy: whether errors have Student's t with 2.5 degrees of freedom, not a normal one.
      ties: whether scores are whole numbers.
      rate: the mean log-odds of the label.
      kind: binary or regression.
      scatter: of B's seeds, in units of A's.
      buyers: groups that have all positives; 0 is every group.
      weights: whether rows have weights, of log-normal distribution.
      files: whether the scores are written to files, which `compare` reads.
    """

    name: str
    groups: int
    rows: int
    seeds: tuple[int, int] = (1, 1)
    zipf: bool = False
    heavy: bool = False
    ties: bool = False
    rate: float = -1.0
    kind: str = "binary"
    scatter: float = 1.0
    buyers: int = 0
    weights: bool = False
    files: bool = False


SITUATIONS = (
    Situation("1 group", 1, 2000),
    *(Situation(f"{n} groups", n, max(2000 // n, 10)) for n in (3, 10, 12, 20, 50, 200, 1000)),
    *(Situation(f"{n} groups, Zipf sizes", n, 2000 // n, zipf=True) for n in (50, 200)),
    Situation("no groups, 1,000 rows", 0, 1000),
    Situation("no groups, rare positives", 0, 3000, rate=-3.5),
    Situation("no groups, 25,000 rows", 0, 25_000),
    Situation("200 groups, rare positives", 200, 20, rate=-4.2),
    Situation("200 groups, positives in 20 of them", 200, 20, buyers=20),
    Situation("200 groups, weighted rows", 200, 10, weights=True),
    Situation("200 groups, two score files", 200, 10, files=True),
    Situation("20 groups, ties", 20, 100, ties=True),
    Situation("200 groups, ties", 200, 10, ties=True),
    Situation("20 groups, heavy tails", 20, 100, heavy=True),
    Situation("200 groups, heavy tails", 200, 10, heavy=True),
    *(
        Situation(f"200 groups, {a} seeds against {b}", 200, 10, (a, b))
        for a, b in ((2, 2), (3, 3), (5, 5), (10, 10), (5, 2), (10, 3), (2, 1), (5, 1), (10, 1))
    ),
    Situation("20 groups, 3 seeds against 3", 20, 100, (3, 3)),
    Situation("200 groups, 5 seeds against 5 that scatter thrice", 200, 10, (5, 5), scatter=3.0),
    *(
        Situation(f"{n} groups, a regression, heavy tails", n, 2000 // n, heavy=True,
                  kind="regression")
        for n in (20, 200)
    ),
    Situation("200 groups, a regression, 3 seeds against 3", 200, 10, (3, 3), kind="regression"),
)  # fmt: skip


def sides(one: Situation, number: int) -> tuple[list[ScoredRows], list[ScoredRows]]:
    """The scored test rows of two equally good models, of each a run for every seed."""
    rng = np.random.default_rng([number, *one.name.encode()])
    sizes = np.full(max(one.groups, 1), one.rows)
    if one.zipf:
        shares = 1 / np.arange(1, one.groups + 1)
        sizes = np.maximum(2, shares / shares.sum() * one.groups * one.rows).astype(int)
    unit = np.repeat(np.arange(len(sizes)), sizes)

    def noise(of_groups: float, of_rows: float) -> np.ndarray:
        draw = functools.partial(rng.standard_t, 2.5) if one.heavy else rng.normal
        shared = draw(size=len(sizes))[unit] if one.groups else 0.0
        return of_groups * shared + of_rows * draw(size=len(unit))

    truth = rng.normal(size=len(unit)) + (rng.normal(size=len(sizes))[unit] if one.groups else 0)
    if one.kind == "binary":
        label = (rng.random(len(unit)) < 1 / (1 + np.exp(-one.rate - truth))).astype(np.float64)
        label *= unit < one.buyers if one.buyers else 1
    else:
        label = truth + noise(0.5, 0.5)
    weight = rng.lognormal(size=len(unit)) if one.weights else None
    several = max(one.seeds) > 1
    made = []
    for side, (count, scatter) in enumerate(zip(one.seeds, (1.0, one.scatter))):
        model = noise(0.3, 0.3) if several else 0.0  # what its seeds have in common
        made.append([])
        for seed in range(count):
            skill = SKILL * scatter * rng.normal(size=2) if several else np.zeros(2)
            scores = truth * (1 + skill[0]) + model + noise(0.7, 0.7) * np.exp(skill[1])
            scores = scores + one.rate * (one.kind == "binary")
            made[-1].append(
                ScoredRows(
                    f"{'AB'[side]}{seed}",
                    pl.Series("row", np.arange(len(unit))),
                    {"task": label},
                    {"task@all": (scores.round() if one.ties else scores).astype(np.float32)},
                    {"task": one.kind},
                    unit if one.groups else None,
                    weight if one.weights else None,
                )
            )
    return made[0], made[1]


def compared(one: Situation, number: int) -> list[Difference]:
    """Two equal models as `compare` compares them; none where test has one class."""
    both = sides(one, number)
    if len(np.unique(both[0][0].labels["task"])) < 2:
        return []
    return of_files(*both) if one.files else differences(*both, draws=DRAWS)


def of_files(a: list[ScoredRows], b: list[ScoredRows]) -> list[Difference]:
    """The differences of two runs whose scores are written to files first."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{side}.parquet" for side in "ab"]
        for path, (run,) in zip(paths, (a, b)):
            columns = {"row": run.key, "group": run.group, "label/task": run.labels["task"]}
            pl.DataFrame(columns | {"logit/task": run.scores["task@all"]}).write_parquet(path)
        return compare.compared([*paths, f"--draws={DRAWS}"])[1][2]


def of_metrics(
    one: Situation, number: int
) -> tuple[Units, dict[str, tuple[list[Influence], list[Influence]]]]:
    """The units, and {metric: A's runs, B's runs}."""
    both = sides(one, number)
    group, weight = both[0][0].group, both[0][0].weight
    units = Units(len(both[0][0].key), group)

    def of(run) -> dict[str, Influence]:
        rows = Rows(one.kind, run.scores["task@all"], run.labels["task"], weight, group)
        return influences(rows, units)

    runs = [[of(run) for run in side] for side in both]
    return units, {m: tuple([run[m] for run in side] for side in runs) for m in runs[0][0]}


def moved(metric: str, run: Influence, by: float) -> Influence:
    """A run whose metric is higher by so much."""
    if metric == "predicted_observed":  # every unit's predictions are
        factor = (run.value + by) / run.value
        return run._replace(value=factor * run.value, units=factor * run.units)
    return run._replace(value=run.value + by)


def bootstrap(a: Sequence[Influence], b: Sequence[Influence], times: np.ndarray) -> float:
    """p by a bootstrap of units and of seeds, to first order."""
    values = [np.array([run.value for run in side]) for side in (a, b)]
    units = np.mean([r.slope * r.units for r in a], axis=0)
    units = units - np.mean([r.slope * r.units for r in b], axis=0)
    draws = values[0].mean() - values[1].mean() + times @ units
    if min(map(len, values)) > 1:
        draws = np.repeat(draws, paired.SEED_DRAWS)
        draws = draws + drawn_seeds(*values, len(draws), np.random.default_rng(1))
    return 2 * min((draws <= 0).mean(), (draws >= 0).mean())


def powers(one: Situation, count: int) -> dict[str, tuple[float, float, float]]:
    """{metric: the bootstrap's size, its power, that of `compare`}, at two standard errors."""
    every = []
    for number in range(count):
        units, found = of_metrics(one, number)
        every.append(
            {m: found[m] for m in found if math.isfinite(sum(r.value for s in found[m] for r in s))}
        )
    drawn = paired.signs(units.count, DRAWS)
    rng = np.random.default_rng(0)
    times = rng.multinomial(units.count, np.full(units.count, 1 / units.count), DRAWS) * 1.0
    powers = {}
    for metric in every[0]:
        runs = [found[metric] for found in every if metric in found]
        apart = [np.mean([r.value for r in a]) - np.mean([r.value for r in b]) for a, b in runs]
        rates = np.zeros(3)
        for a, b in runs:
            better = [moved(metric, run, 2 * np.std(apart)) for run in a]
            ps = (bootstrap(a, b, times), bootstrap(better, b, times),
                  paired.compare(better, b, drawn, math.inf).p)  # fmt: skip
            rates += np.array(ps) < 0.05
        powers[metric] = tuple(rates / len(runs))
    return powers


@dataclasses.dataclass
class Counts:
    """Of a metric's comparisons: those that have a p, those of p < 0.05, of intervals with 0, and
    those with a difference."""

    judged: int = 0
    found: int = 0
    held: int = 0
    apart: int = 0

    def add(self, one: Difference) -> None:
        if not math.isnan(one.p):
            self.judged += 1
            self.apart += one.difference != 0
            self.found += one.p < 0.05
            self.held += one.low <= 0 <= one.high


def null(one: Situation, count: int = COMPARISONS) -> dict[str, Counts]:
    """{metric: its counts}, of comparisons of two equal models."""
    counts: dict[str, Counts] = {}
    for number in range(count):
        for line in compared(one, number):
            counts.setdefault(line.metric, Counts()).add(line)
    return counts


def shifted(one: Situation) -> int:
    """Comparisons for power: fewer where each takes more time and memory."""
    return 500 if max(one.seeds) > 1 or one.rows > 10_000 else 2000


def relative_power(one: Situation) -> dict[str, float]:
    """{metric: its power over the bootstrap's}, where that one holds its size."""
    return {
        metric: ours / theirs
        for metric, (size, theirs, ours) in powers(one, shifted(one)).items()
        if size <= SIZE and theirs
    }


def measured(one: Situation) -> tuple[dict[str, Counts], dict[str, float]]:
    """Size and power; no power of what gets no verdict."""
    counts = null(one)
    judged = any(count.judged for count in counts.values())
    return counts, relative_power(one) if judged else {}


def text(found: dict[Situation, tuple[dict[str, Counts], dict[str, float]]]) -> str:
    """The tables and what they say."""
    parts = []
    for kind in ("binary", "regression"):
        some = {one: counts for one, (counts, _) in found.items() if one.kind == kind}
        metrics = list(dict.fromkeys(m for counts in some.values() for m in counts))
        titles = [METRICS[m].short or METRICS[m].title for m in metrics]
        lines = [f"| test rows | {' | '.join(titles)} |", "| --- |" + " ---: |" * len(metrics)]
        for one, counts in some.items():
            cells = [cell(counts.get(metric, Counts())) for metric in metrics]
            lines.append(f"| {one.name} | {' | '.join(cells)} |")
        parts.append("\n".join(lines))
    every = [c for counts, _ in found.values() for c in counts.values() if c.apart]
    power = [ratio for _, ratios in found.values() for ratio in ratios.values()]
    parts.append(
        f"In each cell, {COMPARISONS:,} comparisons of equal models. Intervals hold 0 in "
        f"{100 * min(c.held / c.judged for c in every):.1f} to "
        f"{100 * max(c.held / c.judged for c in every):.1f} % of them. A true difference of two "
        f"standard errors is found {min(power):.2f} to {max(power):.2f} times as often as by a "
        "bootstrap of groups or rows, wherever that one holds its size."
    )
    return "\n\n".join(parts) + "\n\n"


def cell(count: Counts) -> str:
    """The share of p < 0.05 in percent, with its 95 % interval."""
    if not count.apart:  # no p, or nothing to find: recall@10 of ten rows a group
        return "–"
    low, high = wilson(count.found / count.judged, count.judged)
    return f"{100 * count.found / count.judged:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def main() -> None:
    with multiprocessing.Pool() as pool:
        found = dict(zip(SITUATIONS, pool.imap(measured, SITUATIONS)))
    page = PAGE.read_text()
    PAGE.write_text(PLACE.sub(lambda place: place[1] + text(found) + place[2], page))
    for one, (counts, power) in found.items():
        metric, ratio = min(power.items(), key=lambda pair: pair[1], default=("", math.nan))
        most = max((c.found / c.judged for c in counts.values() if c.judged), default=math.nan)
        print(
            f"{one.name}: size at most {most:.3f}; power over the bootstrap's {ratio:.2f} {metric}"
        )


if __name__ == "__main__":
    main()
