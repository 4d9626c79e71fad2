"""A comparison as a table in the terminal, as Markdown and CSV, and as a picture."""

from __future__ import annotations

import math
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jinja2
import rich.console
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtn_jax.comparison.differences import LEVEL, Difference
from dtn_jax.comparison.scored_rows import ScoredRows
from dtn_jax.errors import UserError
from dtn_jax.files import write_whole
from dtn_jax.metrics import METRICS
from dtn_jax.report import screen
from dtn_jax.report.grid import Grid
from dtn_jax.report.markdown import escaped, one_line
from dtn_jax.report.pictures import COLOURS, NOTE, clean, header, named_lines, panels, save_small

GREY = "#888888"
WIDE = 80  # columns of a terminal that a table needs
SEEDS = 3  # of each side, that a comparison of single runs asks for
HEADER = ("task@space", "metric", "A", "B", "B − A", "95 % interval", "p")
NUMBERS = ("difference", "low", "high", "p", "p_holm", "rows", "positives")  # of the CSV file


def show(
    a: Sequence[ScoredRows], b: Sequence[ScoredRows], found: Sequence[Difference], out: str
) -> None:
    """Shows the differences in the terminal, and writes them into the folder `out`, if any.

    Raises:
      UserError: the folder cannot be written.
    """
    names = [", ".join(run.name for run in side) for side in (a, b)]
    best = "ahead" if len(a) == len(b) == 1 else "best"  # heads the last column
    lines = paragraphs(a, b, found)
    screen.show(f"A: {names[0]}\nB: {names[1]}")
    screen.show(terminal(found, best), WIDE)
    what = "test rows" if any(run.config is not None for run in (*a, *b)) else "rows"
    print("\n".join([f"\n{len(a[0].key):,} {what}.", *lines]))
    if out:
        folder = pathlib.Path(out).expanduser().absolute()
        title = f"A: {names[0]}   B: {names[1]}"
        try:
            write(folder, found, title, [*filter(None, lines)], best)
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {error.strerror or error}") from None
        print(f"compare.md, compare.csv and differences.png are in {folder}")


def terminal(found: Sequence[Difference], best: str) -> rich.console.Group:
    """A table for each task@space; `best` heads the last column."""
    shown = []
    for key in dict.fromkeys(one.key for one in found):
        rows = [narrow(one) for one in found if one.key == key]
        grid = Grid((*HEADER[1:], best), rows, title=f"\n{one_line(key)}")
        shown.append(grid.terminal(gap=1))
    return rich.console.Group(*shown)


def write(
    folder: pathlib.Path, found: Sequence[Difference], title: str, lines: Sequence[str], best: str
) -> None:
    """compare.md, compare.csv and differences.png; `best` heads the last column."""
    folder.mkdir(parents=True, exist_ok=True)
    told = "\n".join(f"- {escaped(line)}" for line in lines)
    table = Grid((*HEADER, best), [cells(one) for one in found], left=2).markdown()
    page = f"# {escaped(title)}\n\n{table}\n{told}\n\n![Differences](differences.png)\n"
    write_whole(folder / "compare.md", page)
    write_whole(folder / "compare.csv", csv(found))
    save_small(picture(found, title), folder / "differences.png")


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
    a: Sequence[ScoredRows], b: Sequence[ScoredRows], found: Sequence[Difference]
) -> list[str]:
    """A sentence for each task@space, of the metric that ranks: AUC, RMSE of a regression; after an
    empty line how the numbers are to be read.

    Where neither side has several seeds, one of the two states is ahead, which does not make its
    model better.
    """
    kinds = {
        name: "trained state" if side[0].config is not None else "file"
        for name, side in (("A", a), ("B", b))
    }
    return rendered(
        pathlib.Path(__file__).with_name("notes.md.jinja"),
        ranking=[told(one) for one in found if one.metric in ("auc", "rmse")],
        single=len(a) == len(b) == 1,
        kinds=kinds,
        are_runs="trained state" in kinds.values(),
        units="groups" if any(run.group is not None for run in (*a, *b)) else "rows",
        seeds={"A": len(a), "B": len(b)},
        LEVEL=LEVEL,
        SEEDS=SEEDS,
    )


def rendered(template: pathlib.Path, **facts: object) -> list[str]:
    """The paragraphs of a template, each a line; "----" is an empty one."""
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    text = environment.from_string(template.read_text()).render(facts)
    lines = (" ".join(part.split()) for part in text.split("\n\n"))
    return ["" if line == "----" else line for line in lines if line]


def told(one: Difference) -> dict[str, str]:
    """What a sentence on a difference needs."""
    digits = fine(one)
    ends = {name: number(getattr(one, name), digits) for name in ("difference", "low", "high")}
    return ends | {
        "key": one_line(one.key),
        "title": METRICS[one.metric].title,
        "few": one.few,
        "better": one.better,
        "p": p_text(one) if one.better else f"{one.p_holm:.3f}",
        "most": f"{max(abs(one.low), abs(one.high)):.{digits}f}",
        "size": f"{abs(one.difference):.{digits}f}",
        "higher": "higher" if METRICS[one.metric].higher_is_better else "lower",
    }


def csv(found: Sequence[Difference]) -> str:
    """Numbers in full, a line a metric."""
    rows = []
    for one in found:
        task, _, space = one.key.partition("@")
        values = [statistics.mean(one.a), statistics.mean(one.b)]
        values += [getattr(one, name) for name in NUMBERS]
        texts = ["" if isinstance(v, float) and math.isnan(v) else str(v) for v in values]
        rows.append([task, space, one.metric, *texts, one.better])
    return Grid(("task", "space", "metric", "a", "b", *NUMBERS, "ahead"), rows).csv()


class Interval(NamedTuple):
    """A difference in a picture; `filled`: its point."""

    low: float
    difference: float
    high: float
    colour: str
    filled: bool = True


def intervals(axes: Axes, title: str, lines: Mapping[str, Interval | None]) -> None:
    """Named lines of a panel, the first on top, each with its difference from 0, if there is."""
    for at, line in enumerate(lines.values()):
        if line:
            axes.plot([line.low, line.high], [at, at], color=line.colour, lw=2)
            inner = line.colour if line.filled else "white"
            axes.plot(line.difference, at, "o", color=line.colour, mfc=inner, ms=5)
    axes.axvline(0, color="black", lw=0.8)
    clean(axes, title)
    named_lines(axes, [*lines])
    axes.locator_params(axis="x", nbins=5)


def picture(found: Sequence[Difference], title: str) -> Figure:
    """B − A with intervals, a panel a metric; right of the line is where B is ahead."""
    metrics = list(dict.fromkeys(d.metric for d in found))
    keys = list(dict.fromkeys(d.key for d in found))
    figure, every = panels(len(metrics), 3, (3.9, 1.2 + 0.32 * len(keys)))
    for axes, metric in zip(every, metrics):
        own = {d.key: d for d in found if d.metric == metric and not math.isnan(d.difference)}
        lines = {one_line(key): line_of(own[key]) if key in own else None for key in keys}
        intervals(axes, METRICS[metric].title, lines)
        if METRICS[metric].higher_is_better is False:
            axes.invert_xaxis()
            axes.set_xlabel("axis runs backwards: less is better", **NOTE | {"fontsize": 8})
    below = "B is ahead on the right (predicted/observed: nearer to 1). Grey: p ≥ 0.05, or none."
    header(figure, "B − A, 95 % intervals", f"{title}. {below}")
    return figure


def line_of(one: Difference) -> Interval:
    sides = {"A": COLOURS[1], "B": COLOURS[0]}
    colour = sides.get(one.better, "black" if one.p_holm < LEVEL else GREY)
    return Interval(one.low, one.difference, one.high, colour)
