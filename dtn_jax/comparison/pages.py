"""A comparison as a table in the terminal, as Markdown and CSV."""

from __future__ import annotations

import math
import pathlib
import statistics
from collections.abc import Iterable, Mapping, Sequence

import rich.console

from dtn_jax.comparison.differences import LEVEL, Difference, means
from dtn_jax.comparison.scored_rows import ScoredRows
from dtn_jax.files import write_whole
from dtn_jax.metrics import METRICS
from dtn_jax.places import full_path
from dtn_jax.report import screen
from dtn_jax.report.grid import Grid
from dtn_jax.report.markdown import escaped, one_line
from dtn_jax.report.sections import rendered

WIDE = 80  # columns of a terminal that a table needs
NAMED = 3  # differences that the verdict names of each side
SEEDS = 3  # of each side, that a comparison of single runs asks for
HEADER = ("task@space", "metric", "A", "B", "B − A", "95 % interval", "p")
NUMBERS = ("difference", "low", "high", "p", "p_holm", "rows", "positives")  # of the CSV file
Levels = Mapping[str, Sequence[Sequence[str]]]  # {task@space: rows of its table}


def show(
    a: Sequence[ScoredRows], b: Sequence[ScoredRows], every: Sequence[Difference], out: str
) -> None:
    """Shows the differences in the terminal, and writes them into the folder `out`, if any: as
    compare.md and compare.csv."""
    names = [", ".join(run.name for run in side) for side in (a, b)]
    best = "ahead" if len(a) == len(b) == 1 else "best"  # heads the last column
    keys = list(dict.fromkeys(one.key for one in every))
    more = levels(a, b, [key for key in keys if key in a[0].scores])
    *lines, last = paragraphs(a, b, every)
    screen.show(f"A: {names[0]}\nB: {names[1]}")
    screen.show(terminal(every, best, more), WIDE)
    print("\n".join([f"\n{len(a[0].key):,} rows.", *lines]))
    if out:
        rows = []
        for key in keys:
            rows += [cells(one) for one in every if one.key == key]
            rows += [[key, *row] for row in more.get(key, ())]
        folder, title = full_path(out), escaped(f"A: {names[0]}   B: {names[1]}")
        table = Grid((*HEADER, best), rows, left=2).markdown()
        listed = "\n".join(f"- {escaped(line)}" for line in (*lines, last) if line)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "compare.md", f"# {title}\n\n{table}\n{listed}\n")
        write_whole(folder / "compare.csv", csv(every))
        print(f"compare.md and compare.csv are in {folder}")
    print(f"\n{last}")


def levels(a: Sequence[ScoredRows], b: Sequence[ScoredRows], keys: Iterable[str]) -> Levels:
    """What each side predicts on average of what is observed: two rows for each task@space."""

    def rows(key: str) -> list[list[str]]:
        sides = zip(("pred", "obs"), *means(a, b, key))
        return [[name, *(f"{x:.4g}" for x in two), *[""] * 4] for name, *two in sides]

    return {key: rows(key) for key in keys}


def terminal(every: Sequence[Difference], best: str, more: Levels) -> rich.console.Group:
    """A table for each task@space; `best` heads the last column, `more` are its last rows."""
    shown = []
    for key in dict.fromkeys(one.key for one in every):
        rows = [narrow(one) for one in every if one.key == key]
        grid = Grid((*HEADER[1:], best), [*rows, *more.get(key, ())], title=f"\n{one_line(key)}")
        shown.append(grid.terminal(gap=1))
    return rich.console.Group(*shown)


def cells(one: Difference) -> list[str]:
    """A row of the table, under HEADER and which side is ahead."""
    digits = fine(one)
    low, high = (number(value, digits) for value in (one.low, one.high))
    return [
        one.key,
        METRICS[one.metric].title,
        mean(one.a, digits),
        mean(one.b, digits),
        number(one.difference, digits),
        "" if math.isnan(one.low) else f"[{low}, {high}]",
        p_text(one),
        one.better,
    ]


def narrow(one: Difference) -> list[str]:
    """That row within 80 columns, below its task@space."""
    _, title, *rest = cells(one)
    if len(one.a) > 1 or len(one.b) > 1:  # which leaves no room for more digits
        rest[:2] = [mean(side).replace(" ± ", "±") for side in (one.a, one.b)]
    return [METRICS[one.metric].short or title, *rest]


def fine(one: Difference) -> int:
    """Digits after the point: 4, or as many as show two of the interval's half."""
    half = (one.high - one.low) / 2
    return 4 if math.isnan(half) or half <= 0 else min(max(4, 1 - math.floor(math.log10(half))), 8)


def mean(values: Sequence[float], digits: int = 4) -> str:
    """The mean over seeds, ± their standard deviation."""
    if any(map(math.isnan, values)):
        return "n/d"
    text = f"{statistics.mean(values):.{digits}f}"
    return text if len(values) < 2 else f"{text} ± {statistics.stdev(values):.{digits}f}"


def number(value: float, digits: int = 4) -> str:
    return "n/d" if math.isnan(value) else f"{value:+.{digits}f}".replace("-", "−")


def p_text(one: Difference) -> str:
    if math.isnan(one.p_holm):
        return "" if math.isnan(one.difference) else "too few"
    if one.p <= one.least:  # rounded up, so that it holds
        return f"≤ {math.ceil(1000 * one.p_holm) / 1000:.3f}"
    return f"{one.p_holm:.3f}"


def paragraphs(
    a: Sequence[ScoredRows], b: Sequence[ScoredRows], every: Sequence[Difference]
) -> list[str]:
    """Why a task@space has no verdict; after an empty line how the numbers are to be read; last the
    verdict in one sentence, by the first metric of each task@space: AUC, or XAUC.

    Where neither side has several seeds, one of the two states is ahead, which does not make its
    model better.
    """
    keys = [key for key in dict.fromkeys(one.key for one in every) if key in a[0].scores]
    firsts = [next(one for one in every if one.key == key) for key in keys]
    known = [one for one in firsts if not math.isnan(one.p_holm)]
    equal = [one for one in known if not one.better]
    return rendered(
        pathlib.Path(__file__).with_name("notes.md.jinja"),
        few={one_line(one.key): one.few for one in every if one.few},
        single=len(a) == len(b) == 1,
        are_runs=any(run.config is not None for run in (*a, *b)),
        units="groups" if any(run.group is not None for run in (*a, *b)) else "rows",
        seeds={"A": len(a), "B": len(b)},
        known=known,
        by=dict.fromkeys(METRICS[one.metric].title for one in known),
        ahead={side: [one for one in known if one.better == side] for side in ("B", "A")},
        equal=sorted(equal, key=lambda one: (one.p_holm, one.p)),
        figures=figures,
        LEVEL=LEVEL,
        NAMED=NAMED,
        SEEDS=SEEDS,
    )


def figures(one: Difference) -> str:
    """A task@space, and its difference."""
    key, _, _, _, difference, interval, p, _ = cells(one)
    p = p if p.startswith("≤") else f"= {p}"
    return f"{one_line(key)} (B − A {difference}, 95 % interval {interval}, p {p})"


def csv(every: Sequence[Difference]) -> str:
    """Numbers in full, a line a metric."""
    rows = []
    for one in every:
        task, _, space = one.key.partition("@")
        values = [statistics.mean(one.a), statistics.mean(one.b)]
        values += [getattr(one, name) for name in NUMBERS]
        texts = ["" if isinstance(v, float) and math.isnan(v) else str(v) for v in values]
        rows.append([task, space, one.metric, *texts, one.better])
    return Grid(("task", "space", "metric", "a", "b", *NUMBERS, "ahead"), rows).csv()
