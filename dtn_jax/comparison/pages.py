"""A comparison as a table in the terminal, as Markdown and CSV, and as a picture."""

from __future__ import annotations

import csv
import io
import math
import pathlib
import statistics
from collections.abc import Mapping, Sequence

import rich.box
import rich.table
import rich.text
from matplotlib.figure import Figure

from dtn_jax.comparison.differences import LEVEL, Difference
from dtn_jax.metrics import METRICS
from dtn_jax.report.markdown import escaped, one_line
from dtn_jax.report.markdown import table as markdown_table
from dtn_jax.report.plots import COLOURS, NOTE, clean
from dtn_jax.shared_files import replacing, write_whole

GREY = "#888888"
HEADER = ("task@space", "metric", "A", "B", "B − A", "95 % interval", "p")
WIDE = 80  # columns of a terminal that a table needs
WIDTHS = (8, 7, 7, 7, 18, 7, 4)
SEEDS = 3  # of each side, that a comparison of single runs asks for


def table(found: Sequence[Difference], title: str, best: str = "best") -> rich.table.Table:
    """A table for each task@space, within 80 columns; `best` heads the last column."""
    grid = rich.table.Table.grid()
    grid.add_row(rich.text.Text(title))
    for key in dict.fromkeys(one.key for one in found):
        made = rich.table.Table(
            box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 0)
        )
        for name, width in zip((*HEADER[1:], best), WIDTHS, strict=True):
            left = name == "metric"
            made.add_column(name, min_width=width, justify="left" if left else "right")
        for one in (d for d in found if d.key == key):
            own = [METRICS[one.metric].short or METRICS[one.metric].title, *cells(one)[2:]]
            if len(one.a) > 1 or len(one.b) > 1:  # which leaves no room for more digits
                own[1:3] = [mean(side).replace(" ± ", "±") for side in (one.a, one.b)]
            made.add_row(*(rich.text.Text(cell) for cell in own))
        grid.add_row(rich.text.Text(f"\n{one_line(key)}", "bold"))
        grid.add_row(made)
    return grid


def cells(one: Difference) -> list[str]:
    """The row of the table, in the order of HEADER; then which side is better."""
    digits = fine(one)
    ends = (number(value, digits) for value in (one.low, one.high))
    return [
        one.key,
        METRICS[one.metric].title,
        mean(one.a, digits),
        mean(one.b, digits),
        number(one.difference, digits),
        "" if math.isnan(one.low) else f"[{', '.join(ends)}]",
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
    lines = []
    for one in (d for d in found if d.metric in ("auc", "rmse")):
        title = METRICS[one.metric].title
        if math.isnan(one.difference):
            lines.append(f"{one.key}: {title} is not defined (one class).")
        elif one.few:
            lines.append(f"{one.key}: no verdict: {one.few}.")
        elif one.better:
            digits = fine(one)
            low, high = (number(value, digits) for value in (one.low, one.high))
            sign = "" if "≤" in p_text(one) else "= "
            size = f"{abs(one.difference):.{digits}f}"
            which = f"{one.better} is better, by {size} of {title}"
            if single:
                higher = "higher" if METRICS[one.metric].higher_is_better else "lower"
                which = f"{single[one.better]} {one.better} has the {higher} {title} on these rows"
                which += f", by {size}"
            lines.append(
                f"{one.key}: {which} "
                f"(95 % interval of B − A: {low} to {high}; p {sign}{p_text(one)})."
            )
        else:
            most = max(abs(one.low), abs(one.high))
            lines.append(
                f"{one.key}: no significant difference in {title} (p = {one.p_holm:.3f}); the 95 % "
                f"interval allows up to {most:.{fine(one)}f}."
            )
        others = [d for d in found if d.key == one.key and d.metric != one.metric and d.better]
        if others:
            told = ", ".join(f"{d.better} by {METRICS[d.metric].title}" for d in others)
            ahead = "Ahead" if single else "Better"
            lines[-1] += f" {ahead} by other metrics: {told}."
        silent: dict[str, list[str]] = {}
        for other in (d for d in found if d.key == one.key and d.few and d is not one):
            silent.setdefault(other.few, []).append(METRICS[other.metric].title)
        if one.few and silent:
            lines[-1] += (
                f" Nor by {', '.join(title for some in silent.values() for title in some)}."
            )
        else:
            lines[-1] += "".join(f" No verdict by {', '.join(m)}: {w}." for w, m in silent.items())
    return [one_line(line) for line in lines]


def on_both_sides(a: Sequence[pathlib.Path], b: Sequence[pathlib.Path]) -> list[str]:
    """A line where runs or files stand on both sides."""
    places, others = ({path.resolve() for path in side} for side in (a, b))
    if places == others:
        what = "file" if all(path.is_file() for path in places) else "run"
        what += "s" * (len(places) > 1)
        return [f"A and B are the same {what}, so that every difference is 0."]
    shared = [str(path) for path in a if path.resolve() in others]
    return [one_line(f"On both sides: {', '.join(shared)}.")] if shared else []


def notes(grouped: bool, seeds: tuple[int, int], runs: tuple[bool, bool]) -> list[str]:
    """How the numbers are to be read.

    Args:
      grouped: whether groups are exchanged, not rows.
      seeds: runs of each side.
      runs: whether each side is of runs, not of a file.
    """
    units = "groups" if grouped else "rows"
    told = [
        f"Intervals and p-values come from exchanging the scores of {units} between the models at "
        "random. p is Holm-corrected over the tasks and spaces of a metric; intervals are not, so "
        f"one may exclude 0 beside a p above {LEVEL}. A difference is significant where p < "
        f"{LEVEL}.",
        "Predicted/observed is the mean prediction over the rate of positives. The one nearer to 1 "
        "is better; that is said only where both err on the same side.",
    ]
    if any(runs):
        told.append(
            "Runs are compared as trained, without the calibration that export may add, and by the "
            "logged values of fields that have scored_as. To compare what ships, score one file "
            "with both exported models: see docs/compare.md."
        )
    if max(seeds) < 2:
        how = "train each again in a new folder"
        if not all(runs):
            how = "train each model in a folder"
        told.append(
            f"Each side is one trained {'state' if any(runs) else 'model'}. Whether the model is "
            f"better needs seeds, since another seed may differ by more: {how}, with "
            f"--config.replicas={SEEDS}, and compare the two folders: dtn-jax compare NEW_A NEW_B"
        )
    elif min(seeds) < 2:
        one, other = "AB" if seeds[0] < 2 else "BA"
        told.append(
            f"{one} is one trained state, so its seeds are taken to scatter as those of {other} do."
        )
        if runs["AB".index(one)]:
            told[-1] += (
                f" To measure it, train {one} again in a new folder, with --config.replicas="
                f"{max(seeds)}."
            )
    return told


def markdown(found: Sequence[Difference], title: str, lines: Sequence[str], best: str) -> str:
    """The page compare.md."""
    grid = markdown_table((*HEADER, best), [cells(one) for one in found], left=2)
    told = "\n".join(f"- {escaped(line)}" for line in lines)
    return f"# {escaped(title)}\n\n{grid}\n\n{told}\n\n![Differences](differences.png)\n"


def csv_text(found: Sequence[Difference]) -> str:
    """Numbers in full, a line a metric."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("difference", "low", "high", "p", "p_holm", "rows", "positives")
    writer.writerow(["task", "space", "metric", "a", "b", *names, "ahead"])
    for one in found:
        task, _, space = one.key.partition("@")
        means = (statistics.mean(one.a), statistics.mean(one.b))
        values = [*means, *(getattr(one, name) for name in names)]
        shown = ["" if isinstance(v, float) and math.isnan(v) else v for v in values]
        writer.writerow([task, space, one.metric, *shown, one.better])
    return out.getvalue()


def picture(found: Sequence[Difference], title: str) -> Figure:
    """B − A with intervals, a panel a metric; right of the line is where B is ahead."""
    metrics = list(dict.fromkeys(d.metric for d in found))
    keys = list(dict.fromkeys(d.key for d in found))
    columns = min(3, len(metrics))
    lines = -(-len(metrics) // columns)
    figure = Figure(
        figsize=(1.8 + 3.3 * columns, 0.9 + lines * (1.2 + 0.32 * len(keys))), layout="constrained"
    )
    every = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in every[len(metrics) :]:
        axes.set_visible(False)
    for axes, metric in zip(every, metrics):
        for at, key in enumerate(keys):
            one = next((d for d in found if d.key == key and d.metric == metric), None)
            if one is None or math.isnan(one.difference):
                continue
            sure = one.p_holm < LEVEL
            colour = {"A": COLOURS[1], "B": COLOURS[0]}.get(one.better, "black" if sure else GREY)
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
    write_whole(folder / "compare.md", markdown(found, title, lines, best))
    write_whole(folder / "compare.csv", csv_text(found))
    with replacing(folder / "differences.png") as temporary:
        picture(found, title).savefig(temporary, dpi=140, facecolor="white", format="png")
