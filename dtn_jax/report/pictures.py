"""What all pictures share: colours, panels beside each other, titles, and PNG files.

They are `matplotlib.figure.Figure` objects without pyplot: no global state, no display,
thread-safe. Names come from data: '$' in them is a letter.
"""

from __future__ import annotations

import io
import math
import pathlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import PIL.Image
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, NullFormatter

from dtn_jax.files import replacing

# Okabe and Ito's colours, which colour-blind readers can tell apart, and two more.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
COLOURS += ("#8C510A", "#7B3FB5")
LINES = ("-", "--", ":", "-.")
GRID = {"color": "#DDDDDD", "linewidth": 0.7}
NOTE = {"color": "#666666", "fontsize": 9}
SMALL = 8.5  # size of letters
LETTERS = 14  # of a grey line, an inch
PALETTE = 64
MANY = 40  # points of a line, from which on they have no marks
STEP = 0.18  # between the points of a line, in lines


def png(figure: Figure, dpi: int = 100, **how: object) -> bytes:
    """The figure as a PNG of few colours, a third of the size of one of all; `how`: of savefig."""
    drawn, small = io.BytesIO(), io.BytesIO()
    for text in figure.findobj(Text):  # `powers` writes logarithmic axes without mathematics
        text.set_parse_math(False)
    figure.savefig(drawn, dpi=dpi, facecolor="white", format="png", **how)
    picture = PIL.Image.open(drawn).convert("RGB")
    # The median cut, which is the default, has no colour for a few cells of a heat map.
    few = picture.quantize(PALETTE, PIL.Image.Quantize.MAXCOVERAGE, dither=PIL.Image.Dither.NONE)
    few.save(small, "PNG", optimize=True)
    return small.getvalue()


def save_small(figure: Figure, path: str | pathlib.Path, dpi: int = 100, **how: object) -> None:
    """Writes a PNG; its folder is made; `how`: of savefig."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(png(figure, dpi, **how))


def panels(
    count: int, most: int, size: tuple[float, float], least: float = 0.0, **how: object
) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels of a size in inches, at most `most` beside each other.

    Args:
      count: of the panels; without one there is an empty panel.
      most: columns.
      size: width and height of each.
      least: inches of the figure's width.
      how: of `Figure.subplots`.
    """
    columns = max(min(count, most), 1)
    rows = math.ceil(max(count, 1) / columns)
    width = max(size[0] * columns, least)
    figure = Figure(figsize=(width, 0.7 + size[1] * rows), layout="constrained")
    every = figure.subplots(rows, columns, squeeze=False, **how).ravel()
    for axes in every[max(count, 1) :]:
        axes.remove()
    return figure, list(every[: max(count, 1)])


def header(figure: Figure, text: str, below: str = "") -> None:
    """A bold title and grey lines below it, at the top of a figure of constrained layout."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(below, int(width * LETTERS)) if below else []
    figure.text(0.1 / width, 1 - 0.1 / height, text, va="top", fontsize=11.5, fontweight="bold")
    figure.text(0.1 / width, 1 - 0.36 / height, "\n".join(lines), va="top", linespacing=1.4, **NOTE)
    taken = 0.4 + 0.18 * len(lines)
    figure.get_layout_engine().set(rect=(0, 0, 1, 1 - taken / height))


def clean(axes: Axes, title: str = "", pad: float | int = 8) -> None:
    """A title, a grid and no frame: what all panels share."""
    axes.set_title(title, loc="left", pad=pad, fontsize=11.5, fontweight="bold")
    axes.grid(True, **GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def named_lines(axes: Axes, names: Iterable[str]) -> None:
    """Lines with names, the first on top."""
    names = list(names)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="both", labelsize=SMALL)
    axes.tick_params(axis="y", length=0)


def percents(axis: Axis) -> None:
    """The axis' numbers are shares, written as percentages."""
    axis.set_major_formatter(lambda x, _: f"{100 * x:.4g}%")


def powers(axis: Axis, subs: Sequence[int] = (1, 2, 5)) -> None:
    """The numbers of a logarithmic axis: the multiples `subs` of powers of 10, as they are."""
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(lambda x, _: f"{x:g}")
    axis.set_minor_formatter(NullFormatter())


def small_multiples(
    rows: Iterable[Mapping],
    wide: bool = False,
    marks: Mapping[str, tuple[str, str]] = {},
    least: float = 0.0,
) -> Figure:
    """A panel for each `panel` of a long table, a line for each `line`, a point for each row.

    Args:
      rows: each with `panel`, `line` and `value`; with `low` and `high`, the interval of the value,
        or without; in the colour `ink`, or the first one, and `inside`, or white. A row with a
        `mark` is drawn as that, in the middle of its line; the points of others stand above each
        other. Values that are None are left out.
      wide: two large panels beside each other, not three small ones.
      marks: {mark: (marker, colour)}, which a legend names.
      least: inches of the figure's width.
    """
    by_panel: dict[str, dict[str, list[Mapping]]] = {}
    for row in rows:
        here = by_panel.setdefault(row["panel"], {}).setdefault(row["line"], [])
        here += [row] if row["value"] is not None else []
    alike = len({tuple(lines) for lines in by_panel.values()}) == 1
    most, width, line = (2, 4.3, 0.29) if wide else (3, 2.9, 0.22)  # inches
    size = width, max(0.7 + line * max(map(len, by_panel.values())), 1.4)
    figure, every = panels(len(by_panel), most, size, least, sharey=alike)
    for axes, (panel, lines) in zip(every, by_panel.items()):
        for y, here in enumerate(lines.values()):
            points = [row for row in here if "mark" not in row]
            if points:  # a bar behind them, up to their mean
                ink, mean = points[0].get("ink", COLOURS[5]), np.mean([r["value"] for r in points])
                axes.barh(y, mean, color=ink, alpha=0.4, height=0.75)
            for place, row in enumerate(points):
                at = y + STEP * (place - (len(points) - 1) / 2)
                ink = row.get("ink", COLOURS[0])
                inside = row.get("inside", "white")
                axes.plot([row.get("low"), row.get("high")], [at, at], color=ink, lw=1.1)
                axes.plot([row["value"]], [at], "o", color=ink, ms=4.2, mfc=inside, mew=1.1)
            for row in (row for row in here if "mark" in row):
                marker, ink = marks[row["mark"]]
                axes.plot([row["value"]], [y], marker, color=ink, ms=5 if marker != "|" else 12)
        axes.axvline(0, color="#888888", lw=0.8)
        named_lines(axes, lines)
        clean(axes, panel)
    labels = [Line2D([], [], ls="none", marker=m, color=c, label=n) for n, (m, c) in marks.items()]
    if labels:
        figure.legend(handles=labels, loc="outside lower right", ncols=4, frameon=False, fontsize=8)
    return figure


def curves(
    lines: Mapping[str, Mapping[str, Iterable[Sequence]]], most: int, size: tuple[float, float]
) -> tuple[Figure, dict[str, Axes]]:
    """A panel a title, at most `most` beside each other, and in it a line a name.

    Args:
      lines: {title: {name: points}}; a point is [step, value], or [step, value, low, high], where
        a band is drawn too. Values that are None are left out.
      most, size: as of `panels`.
    """
    figure, every = panels(len(lines), most, size)
    for axes, (title, named) in zip(every, lines.items()):
        for i, (name, points) in enumerate(named.items()):
            known = [point for point in points if point[1] is not None]
            style = {"color": COLOURS[i % len(COLOURS)], "linestyle": LINES[i % len(LINES)]}
            style["marker"] = "o" if len(known) < MANY else ""
            steps, values = np.array([point[:2] for point in known] or [(0, np.nan)], float).T
            axes.plot(steps, values, ms=3, linewidth=1.6, label=name, **style)
            if band := [(p[0], *p[2:]) for p in known if len(p) > 2]:
                axes.fill_between(*np.array(band).T, color=style["color"], alpha=0.15, linewidth=0)
        clean(axes, title)
        axes.set_xlabel("step", fontsize=8.5)
        axes.tick_params(labelsize=8)
        axes.xaxis.set_major_formatter(lambda step, _: f"{step:,.0f}")
        axes.locator_params(axis="x", nbins=5, integer=True)
        if named:
            place = {"loc": "upper left", "bbox_to_anchor": (0, -0.2)}
            axes.legend(frameon=False, fontsize=7.5, ncols=2, **place)
    return figure, dict(zip(lines, every))
