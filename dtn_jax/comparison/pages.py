"""A comparison as a table in the terminal, as Markdown and CSV, and as a picture."""

from __future__ import annotations

import math
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtn_jax.comparison.differences import LEVEL, Difference
from dtn_jax.comparison.scored_rows import ScoredRows
from dtn_jax.errors import UserError
from dtn_jax.metrics import METRICS
from dtn_jax.report import screen
from dtn_jax.report.grid import Grid
from dtn_jax.report.markdown import escaped, one_line
from dtn_jax.report.pictures import COLOURS, NOTE, clean, header, named_lines, panels, save
from dtn_jax.shared_files import write_whole

GREY = "#888888"
WIDE = 80  # columns of a terminal that a table needs
SEEDS = 3  # of each side, that a comparison of single runs asks for
HEADER = ("task@space", "metric", "A", "B", "B − A", "95 % interval", "p")
NUMBERS = ("difference", "low", "high", "p", "p_holm", "rows", "positives")  # of the CSV file
EXCHANGED = (
    "Intervals and p-values come from exchanging the scores of {units} between the models at "
    "random. p is Holm-corrected over the tasks and spaces of a metric; intervals are not, so one "
    f"may exclude 0 beside a p above {LEVEL}. A difference is significant where p < {LEVEL}."
)
AS_TRAINED = (
    "Runs are compared as trained, without the calibration that export may add, and by the logged "
    "values of fields that have scored_as. To compare what ships, score one file with both "
    "exported models: see docs/compare.md."
)
SINGLE = (
    "Each side is one trained {what}. Whether the model is better needs seeds, since another seed "
    f"may differ by more: {{how}} folder, with --config.replicas={SEEDS}, and compare the two "
    "folders: dtn-jax compare NEW_A NEW_B"
)
ONE_SIDE = (
    "{one} is one trained state, so its seeds are taken to scatter as those of {other} do. To "
    "measure it, train {one} again in a new folder, with --config.replicas={seeds}."
)


def show(
    a: Sequence[ScoredRows], b: Sequence[ScoredRows], found: Sequence[Difference], out: str
) -> None:
    """Shows the differences in the terminal, and writes them into the folder `out`, if any.

    Raises:
      UserError: the folder cannot be written.
    """
    names = [", ".join(run.name for run in side) for side in (a, b)]
    are_runs = [side[0].config is not None for side in (a, b)]
    kinds = ["the trained state" if run else "the file" for run in are_runs]
    single = dict(zip("AB", kinds)) if len(a) == len(b) == 1 else {}
    best = "ahead" if single else "best"  # heads the last column
    lines = [*verdict(found, single), "", *notes(a, b)]
    screen.show(f"A: {names[0]}\nB: {names[1]}")
    for key in dict.fromkeys(one.key for one in found):
        rows = [narrow(one) for one in found if one.key == key]
        grid = Grid((*HEADER[1:], best), rows, title=f"\n{one_line(key)}")
        screen.show(grid.terminal(gap=1), WIDE)
    what = "test rows" if any(are_runs) else "rows"
    print("\n".join([f"\n{len(a[0].key):,} {what}.", *lines]))
    if out:
        folder = pathlib.Path(out).expanduser().absolute()
        title = f"A: {names[0]}   B: {names[1]}"
        try:
            write(folder, found, title, [*filter(None, lines)], best)
        except OSError as error:
            raise UserError(f"{folder} cannot be written: {error.strerror or error}") from None
        print(f"compare.md, compare.csv and differences.png are in {folder}")


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
    save(picture(found, title), folder / "differences.png")


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


def verdict(found: Sequence[Difference], single: Mapping[str, str]) -> list[str]:
    """A sentence for each task@space, of the metric that ranks: AUC, RMSE of a regression.

    Args:
      found: the differences.
      single: what each side is where neither has several seeds, {A and B: "the trained state"}:
        then one of the two is ahead, which does not make its model better.
    """
    ranking = (one for one in found if one.metric in ("auc", "rmse"))
    return [one_line(f"{one.key}: {sentence(one, single)}") for one in ranking]


def sentence(one: Difference, single: Mapping[str, str]) -> str:
    title, digits = METRICS[one.metric].title, fine(one)
    if math.isnan(one.difference):
        return f"{title} is not defined (one class)."
    if one.few:
        return f"no verdict: {one.few}."
    if not one.better:
        most = f"{max(abs(one.low), abs(one.high)):.{digits}f}"
        p = f"{one.p_holm:.3f}"
        return (
            f"no significant difference in {title} (p = {p}); the 95 % interval allows up to "
            f"{most}."
        )
    size = f"{abs(one.difference):.{digits}f}"
    which = f"{one.better} is better, by {size} of {title}"
    if single:
        higher = "higher" if METRICS[one.metric].higher_is_better else "lower"
        which = f"{single[one.better]} {one.better} has the {higher} {title} on these rows"
        which += f", by {size}"
    low, high = (number(value, digits) for value in (one.low, one.high))
    p = p_text(one) if "≤" in p_text(one) else f"= {p_text(one)}"
    return f"{which} (95 % interval of B − A: {low} to {high}; p {p})."


def notes(a: Sequence[ScoredRows], b: Sequence[ScoredRows]) -> list[str]:
    """How the numbers of two sides are to be read."""
    grouped = any(run.group is not None for run in (*a, *b))
    are_runs = any(side[0].config is not None for side in (a, b))
    seeds = len(a), len(b)
    lines = [EXCHANGED.format(units="groups" if grouped else "rows")]
    lines += [AS_TRAINED] if are_runs else []
    if max(seeds) < 2:
        how = ("state", "train each again in a new") if are_runs else ("model", "train each in a")
        lines.append(SINGLE.format(what=how[0], how=how[1]))
    elif min(seeds) < 2:
        one, other = "AB" if seeds[0] < 2 else "BA"
        lines.append(ONE_SIDE.format(one=one, other=other, seeds=max(seeds)))
    return lines


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
