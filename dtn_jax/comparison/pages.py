"""A comparison as a table in the terminal, as Markdown and CSV, and as a picture."""

from __future__ import annotations

import math
import pathlib
import statistics
from collections.abc import Mapping, Sequence

import rich.console
from matplotlib.figure import Figure

from dtn_jax.comparison.differences import LEVEL, Difference
from dtn_jax.files import replacing, write_whole
from dtn_jax.metrics import METRICS
from dtn_jax.report.grid import Grid
from dtn_jax.report.markdown import escaped, one_line
from dtn_jax.report.plots import COLOURS, NOTE, clean

GREY = "#888888"
WIDE = 80  # columns of a terminal that a table needs
SEEDS = 3  # of each side, that a comparison of single runs asks for


def terminal(found: Sequence[Difference], best: str = "best") -> rich.console.Group:
    """A table for each task@space, within 80 columns; `best` heads the last column."""
    tables = []
    for key in dict.fromkeys(one.key for one in found):
        own = [one for one in found if one.key == key]
        rows = []
        for one in own:
            title = METRICS[one.metric].short or METRICS[one.metric].title
            sides = cells(one)[2:4]
            if len(one.a) > 1 or len(one.b) > 1:  # which leaves no room for more digits
                sides = [mean(side).replace(" ± ", "±") for side in (one.a, one.b)]
            rows.append([title, *sides, *cells(one)[4:]])
        header = grid(own, best).header[1:]
        tables.append(Grid(header, rows, title=f"\n{one_line(key)}").terminal(gap=1))
    return rich.console.Group(*tables)


def grid(found: Sequence[Difference], best: str) -> Grid:
    """A row a metric; `best` heads the last column."""
    header = ("task@space", "metric", "A", "B", "B − A", "95 % interval", "p", best)
    return Grid(header, [cells(one) for one in found], left=2)


def cells(one: Difference) -> list[str]:
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


def verdict(found: Sequence[Difference], single: Mapping[str, str] = {}) -> list[str]:
    """A sentence for each task@space, of the metric that ranks: AUC, RMSE of a regression.

    Args:
      found: the differences.
      single: what each side is where neither has several seeds, {A and B: "the trained state"}:
        then one of the two is ahead, which does not make its model better.
    """
    return [one_line(_sentence(one, single)) for one in found if one.metric in ("auc", "rmse")]


def _sentence(one: Difference, single: Mapping[str, str]) -> str:
    title, digits = METRICS[one.metric].title, fine(one)
    if math.isnan(one.difference):
        return f"{one.key}: {title} is not defined (one class)."
    if one.few:
        return f"{one.key}: no verdict: {one.few}."
    if not one.better:
        most = f"{max(abs(one.low), abs(one.high)):.{digits}f}"
        return (
            f"{one.key}: no significant difference in {title} (p = {one.p_holm:.3f}); the 95 % "
            f"interval allows up to {most}."
        )
    size = f"{abs(one.difference):.{digits}f}"
    which = f"{one.better} is better, by {size} of {title}"
    if single:
        higher = "higher" if METRICS[one.metric].higher_is_better else "lower"
        which = f"{single[one.better]} {one.better} has the {higher} {title} on these rows"
        which += f", by {size}"
    low, high = (number(value, digits) for value in (one.low, one.high))
    p = p_text(one) if "≤" in p_text(one) else f"= {p_text(one)}"
    return f"{one.key}: {which} (95 % interval of B − A: {low} to {high}; p {p})."


def notes(grouped: bool, seeds: tuple[int, int], runs: tuple[bool, bool]) -> list[str]:
    """How the numbers are to be read.

    Args:
      grouped: whether groups are exchanged, not rows.
      seeds: runs of each side.
      runs: whether each side is of runs, not of a file.
    """
    units = "groups" if grouped else "rows"
    lines = [
        f"Intervals and p-values come from exchanging the scores of {units} between the models at "
        "random. p is Holm-corrected over the tasks and spaces of a metric; "
        f"intervals are not, so one may exclude 0 beside a p above {LEVEL}. A difference is "
        f"significant where p < {LEVEL}."
    ]
    if any(runs):
        lines.append(
            "Runs are compared as trained, without the calibration that export may add, and by the "
            "logged values of fields that have scored_as. To compare what ships, score one file "
            "with both exported models: see docs/compare.md."
        )
    if max(seeds) < 2:
        what, how = ("model", "train each in a")
        if any(runs):
            what, how = ("state", "train each again in a new")
        lines.append(
            f"Each side is one trained {what}. Whether the model is better needs seeds, since "
            f"another seed may differ by more: {how} folder, with --config.replicas={SEEDS}, and "
            "compare the two folders: dtn-jax compare NEW_A NEW_B"
        )
    elif min(seeds) < 2:
        one, other = "AB" if seeds[0] < 2 else "BA"
        lines.append(
            f"{one} is one trained state, so its seeds are taken to scatter as those of {other} "
            f"do. To measure it, train {one} again in a new folder, with --config.replicas="
            f"{max(seeds)}."
        )
    return lines


def csv(found: Sequence[Difference]) -> str:
    """Numbers in full, a line a metric."""
    names = ("difference", "low", "high", "p", "p_holm", "rows", "positives")
    rows = []
    for one in found:
        task, _, space = one.key.partition("@")
        values = [statistics.mean(one.a), statistics.mean(one.b)]
        values += [getattr(one, name) for name in names]
        texts = ["" if isinstance(v, float) and math.isnan(v) else str(v) for v in values]
        rows.append([task, space, one.metric, *texts, one.better])
    return Grid(("task", "space", "metric", "a", "b", *names, "ahead"), rows).csv()


def picture(found: Sequence[Difference], title: str) -> Figure:
    """B − A with intervals, a panel a metric; right of the line is where B is ahead."""
    metrics = list(dict.fromkeys(d.metric for d in found))
    keys = list(dict.fromkeys(d.key for d in found))
    columns = min(3, len(metrics))
    lines = -(-len(metrics) // columns)
    size = (1.8 + 3.3 * columns, 0.9 + lines * (1.2 + 0.32 * len(keys)))
    figure = Figure(figsize=size, layout="constrained")
    every = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in every[len(metrics) :]:
        axes.set_visible(False)
    for axes, metric in zip(every, metrics):
        for one in found:
            if one.metric == metric and not math.isnan(one.difference):
                at, sure = keys.index(one.key), one.p_holm < LEVEL
                sides = {"A": COLOURS[1], "B": COLOURS[0]}
                colour = sides.get(one.better, "black" if sure else GREY)
                axes.plot([one.low, one.high], [at, at], color=colour, lw=2)
                axes.plot(one.difference, at, "o", color=colour, ms=5)
        axes.axvline(0, color="black", lw=0.8)
        axes.set_yticks(range(len(keys)), [one_line(k) for k in keys], fontsize=8, parse_math=False)
        axes.set_ylim(len(keys) - 0.5, -0.5)
        axes.locator_params(axis="x", nbins=4)
        axes.tick_params(axis="x", labelsize=8)
        clean(axes, METRICS[metric].title)
        if METRICS[metric].higher_is_better is False:
            axes.invert_xaxis()
            axes.set_xlabel("axis runs backwards: less is better", **NOTE | {"fontsize": 8})
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, parse_math=False)
    note = (
        "B − A with 95 % interval; B is ahead on the right (predicted/observed: nearer to 1); "
        "grey: p ≥ 0.05, or none"
    )
    figure.supxlabel(note, x=0.99, ha="right", **NOTE)  # in a line of its own
    return figure


def write(
    folder: pathlib.Path,
    found: Sequence[Difference],
    title: str,
    lines: Sequence[str],
    best: str = "best",
) -> None:
    """compare.md, compare.csv and differences.png; `best` heads the last column."""
    folder.mkdir(parents=True, exist_ok=True)
    told = "\n".join(f"- {escaped(line)}" for line in lines)
    table = grid(found, best).markdown()
    page = f"# {escaped(title)}\n\n{table}\n{told}\n\n![Differences](differences.png)\n"
    write_whole(folder / "compare.md", page)
    write_whole(folder / "compare.csv", csv(found))
    with replacing(folder / "differences.png") as temporary:
        picture(found, title).savefig(temporary, dpi=140, facecolor="white", format="png")
